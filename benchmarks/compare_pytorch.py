"""Compares speed and memory of the models with PyTorch, in turns on one machine.

Requires PyTorch (extra `torch`), and a C++ compiler for `torch.compile`. Run it from the root of
the repository:

    python -m benchmarks.compare_pytorch [--rounds 20] [--size 304 400] [--output FILE]
"""

import argparse
import contextlib
import functools
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import torch
from rich.console import Console
from torch.nn import functional as F

import pdanet_tf
from benchmarks.pages import markdown_table, page, print_table
from benchmarks.pytorch_twin import HEADS, Twin
from pdanet_tf.benchmark.cases import Case
from pdanet_tf.benchmark.machine import describe_machine
from pdanet_tf.benchmark.runner import Runner, Step, take_turns
from pdanet_tf.files import write_atomically
from pdanet_tf.weights.torch import load_torch_state_dict

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "compare_pytorch.md"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def prepare_twin(case: Case, compiled: bool = False, channels_last: bool = False) -> Step:
    """Builds the PyTorch twin of a model and returns a function that takes a step."""
    torch.manual_seed(0)
    twin = Twin(case.model)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    twin = twin.to(memory_format=layout)
    forward = torch.compile(twin, dynamic=False) if compiled else twin
    precision: Any = contextlib.nullcontext()
    if case.compute_dtype in DTYPES:
        precision = torch.autocast("cpu", DTYPES[case.compute_dtype])

    @functools.cache
    def batch(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = map(torch.from_numpy, case.batch(size))
        return images.permute(0, 3, 1, 2).contiguous(memory_format=layout), labels.long()

    if case.task == "predict":
        twin.eval()

        def predict(size: tuple[int, int]) -> None:
            with torch.inference_mode(), precision:
                forward(batch(size)[0])

        return predict

    optimizer = torch.optim.SGD(twin.parameters(), 1e-2, momentum=0.9, weight_decay=1e-4)

    def train(size: tuple[int, int]) -> float:
        images, labels = batch(size)
        optimizer.zero_grad()
        with precision:
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), labels, ignore_index=255)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


def largest_difference(name: str) -> float:
    """Returns how much the logits differ with the twin's weights, relative to the largest logit."""
    torch.manual_seed(0)
    twin = Twin(name, num_classes=7).eval()
    for key, value in twin.named_parameters():
        if key.endswith("gamma"):  # with 0, attention would have no effect
            torch.nn.init.constant_(value, 0.5)
    ours = pdanet_tf.build_model(name, 7, include_preprocessing=False, upsample=False)
    states = (twin.encoder.state_dict(), twin.decoder.state_dict())
    load_torch_state_dict(ours, *({k: v.numpy() for k, v in state.items()} for state in states))
    images = np.random.default_rng(0).standard_normal((2, 104, 136, 3)).astype("float32")
    with torch.inference_mode():
        expected = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    return float(np.abs(np.asarray(ours(images)) - expected).max() / np.abs(expected).max())


@dataclass(frozen=True)
class Comparison:
    """A case of this package, and the ways in which the PyTorch twin runs it."""

    title: str
    case: Case
    twins: dict[str, Callable[..., Step]]


def comparisons(size: tuple[int, int]) -> list[Comparison]:
    """Returns all comparisons; images are of the given size."""
    eager = prepare_twin
    last = functools.partial(prepare_twin, channels_last=True)
    compiled = functools.partial(prepare_twin, compiled=True)
    pdanet = functools.partial(Case, "pdanet_resnet18", size=size)
    return [
        Comparison(
            "PDANet, inference, float32",
            pdanet("predict"),
            {"eager": eager, "eager, channels last": last, "torch.compile": compiled},
        ),
        Comparison(
            "PDANet, training, batch 2, float32",
            pdanet("train", batch_size=2),
            {"eager": eager, "eager, channels last": last, "torch.compile": compiled},
        ),
        Comparison(
            "PDANet, inference, mixed_bfloat16",
            pdanet("predict", precision="mixed_bfloat16"),
            {"autocast": eager, "autocast, channels last": last},
        ),
        Comparison(
            "PDANet, training, batch 2, mixed_bfloat16",
            pdanet("train", batch_size=2, precision="mixed_bfloat16"),
            {"autocast": eager, "autocast, channels last": last},
        ),
        Comparison(
            "PDANet, training, batch 4, float32",
            pdanet("train", batch_size=4),
            {"eager": eager, "eager, channels last": last},
        ),
        Comparison(
            "PSPNet, inference, float32",
            Case("pspnet_resnet18", size=size),
            {"eager": eager, "eager, channels last": last},
        ),
        Comparison(
            "DANet, inference, float32",
            Case("danet_resnet18", size=size),
            {"eager": eager, "eager, channels last": last},
        ),
    ]


HEADINGS = (
    "what",
    "PyTorch",
    "ours, ms",
    "PyTorch, ms",
    "PyTorch / ours",
    "range",
    "memory, MiB",
    "PyTorch's",
    "ours / PyTorch's",
)


def measure(comparison: Comparison, rounds: int) -> list[list[str]]:
    """Measures one comparison and returns the cells of its rows."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Runner(comparison.case))
        twins = [
            stack.enter_context(Runner(comparison.case, prepare))
            for prepare in comparison.twins.values()
        ]
        own, *others = take_turns([ours, *twins], rounds)
    rows = []
    for name, twin, seconds in zip(comparison.twins, twins, others, strict=True):
        ratios = [other / one for one, other in zip(own, seconds, strict=True)]
        rows.append(
            [
                comparison.title,
                name,
                f"{1000 * statistics.median(own):.0f}",
                f"{1000 * statistics.median(seconds):.0f}",
                f"{statistics.median(seconds) / statistics.median(own):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
                f"{ours.memory:.0f}",
                f"{twin.memory:.0f}",
                f"{ours.memory / twin.memory:.2f}",
            ]
        )
    return rows


def render(rows: Sequence[Sequence[str]], differences: dict[str, float], rounds: int) -> str:
    """Returns the page in Markdown: the table and its explanation."""
    equal = ", ".join(f"{value:.1e} ({name})" for name, value in differences.items())
    return page(
        "Comparison with PyTorch",
        "Written by `python -m benchmarks.compare_pytorch`; do not edit. The PyTorch models are "
        "those of `benchmarks/pytorch_twin.py`. With the same weights, the logits differ by at "
        f"most {equal}, relative to the largest logit.",
        markdown_table(HEADINGS, rows),
        "Each model runs in a process of its own that uses all cores. The processes of a "
        f"comparison take turns, one step each, in {rounds} rounds. Times are medians, and ratios "
        "are ratios of medians; the range is that of the ratios within a round. Inference computes "
        "logits at 1/8 from normalised images. A training step consists of the forward pass, the "
        "backward pass and SGD. Memory is the peak of the first steps above what the process used "
        "after steps on small images; it therefore includes neither the model nor the optimizer.",
        f"Measured on {describe_machine('tensorflow', 'keras', 'torch')}.",
    )


def main() -> None:
    """Checks that the twins are equal, measures, then prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20, help="steps of each")
    parser.add_argument("--size", type=int, nargs=2, default=(304, 400), help="height and width")
    parser.add_argument("--only", help="measure only comparisons whose title contains this text")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file")
    options = parser.parse_args()
    console = Console()
    differences = {name: largest_difference(name) for name in HEADS}
    for name, difference in differences.items():
        if difference > 1e-4:
            parser.error(f"{name} and its twin differ by {difference:.1e}")
    rows = []
    for comparison in comparisons(tuple(options.size)):
        if not options.only or options.only in comparison.title:
            rows += measure(comparison, options.rounds)
    print_table(console, HEADINGS, rows)
    write_atomically(options.output, render(rows, differences, options.rounds))
    console.print(f"The table is in {options.output}")


if __name__ == "__main__":
    main()
