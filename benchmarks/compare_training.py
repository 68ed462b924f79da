"""Compares whole training loops: `pdanet_tf.train` and a PyTorch twin with a DataLoader.

Both loops draw the same samples, start from the same weights and compute the same loss, metrics and
updates. Requires PyTorch (extra `torch`). Run it from the root of the repository:

    python -m benchmarks.compare_training --data-dir CamVid [--epochs 5] [--output FILE]
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from rich.console import Console

from benchmarks.pages import markdown_table, page, print_table
from pdanet_tf.base.processor import slow_precision
from pdanet_tf.base.startup import keep_freed_memory
from pdanet_tf.benchmark.machine import describe_machine, process_memory
from pdanet_tf.data import SegmentationDataset, load_dataset
from pdanet_tf.data.batches.crop import CropRecipe
from pdanet_tf.files import write_atomically

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "compare_training.md"
MODEL = "pdanet_resnet18"
CLASSES = 11  # of CamVid
WORKERS = 2  # of the DataLoader
WARM_UP = 1  # epochs that are not counted
RATE, POWER, MOMENTUM, DECAY = 1e-2, 0.9, 0.9, 1e-4
HEADINGS = (
    "crops",
    "batch",
    "precision",
    "ours, images/s",
    "PyTorch, images/s",
    "ours / PyTorch",
    "range",
    "memory, MiB",
    "PyTorch's",
)


@dataclass(frozen=True)
class Loop:
    """What both loops train on.

    Attributes:
        data_dir: Folder of CamVid.
        weights: File of the initial weights, for ours.
        state: File of the same weights, for PyTorch.
        size: (height, width) of the crops.
        batch_size: Images per step.
        steps: Steps per epoch.
        epochs: Number of epochs, with those that are not counted.
        precision: "float32" or "mixed_bfloat16".
    """

    data_dir: str
    weights: str
    state: str
    size: tuple[int, int]
    batch_size: int
    steps: int
    epochs: int
    precision: str

    def recipe(self, dataset: SegmentationDataset) -> CropRecipe:
        """Returns the source of the samples; the models of both loops have logits at 1/8."""
        return CropRecipe(
            dataset,
            crop_size=self.size,
            short_edge=None,
            scale_range=(0.5, 2.0),
            flip=True,
            color_jitter=0.0,
            label_stride=8,
            label_start=None,
            seed=0,
        )


@dataclass(frozen=True)
class Epoch:
    """One epoch of a loop: seconds from its start to its last step, and the loss of each step."""

    seconds: float
    losses: tuple[float, ...]
    memory: float  # MiB


class Turns:
    """Lets a loop wait for its turn before each epoch, and reports the epoch."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def wait(self) -> None:
        """Says that the loop is ready, and waits until the other loops are, too."""
        self.connection.send("ready")
        self.connection.recv()
        self._losses: list[float] = []
        self._started = time.perf_counter()

    def step(self, loss: float) -> None:
        """Records the loss of a step."""
        self._losses.append(loss)

    def report(self, memory: float) -> None:
        """Sends the epoch after its last step."""
        seconds = time.perf_counter() - self._started
        self.connection.send(Epoch(seconds, tuple(self._losses), memory))

    def finish(self) -> None:
        """Says that the loop has done all its work."""
        self.connection.send("finished")


def train_ours(loop: Loop, connection: Connection) -> None:
    """Trains with `pdanet_tf.train`, as the command line does."""
    keep_freed_memory(one_arena=True)
    import keras

    import pdanet_tf

    turns = Turns(connection)

    class InTurns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self._total = 0.0
            turns.wait()

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            total = (batch + 1) * float((logs or {})["loss"])  # Keras reports the mean so far
            turns.step(total - self._total)
            self._total = total
            if batch + 1 == loop.steps:
                turns.report(process_memory("VmHWM"))

    with tempfile.TemporaryDirectory() as folder:
        config = pdanet_tf.TrainConfig(
            output_dir=f"{folder}/run",
            model=MODEL,
            dataset="camvid",
            data_dir=loop.data_dir,
            weights=loop.weights,
            crop_size=loop.size,
            color_jitter=0.0,
            dropout=0.0,
            batch_size=loop.batch_size,
            steps_per_epoch=loop.steps,
            epochs=loop.epochs,
            learning_rate=RATE,
            power=POWER,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            precision=loop.precision,
        )
        pdanet_tf.train(config, verbose=0, callbacks=[InTurns()])
    turns.finish()


def train_twin(loop: Loop, connection: Connection) -> None:
    """Trains the PyTorch twin, with a DataLoader whose workers draw the samples."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    from benchmarks.pytorch_twin import Twin

    dataset = load_dataset("camvid", "train", loop.data_dir)
    count = loop.steps * loop.batch_size
    twin = Twin(MODEL, CLASSES)
    twin.load_state_dict(torch.load(loop.state, weights_only=True))
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    kernels = [p for name, p in twin.named_parameters() if p.ndim == 4 or name.endswith("gamma")]
    others = [
        p for name, p in twin.named_parameters() if p.ndim != 4 and not name.endswith("gamma")
    ]
    groups = [{"params": kernels, "weight_decay": DECAY}, {"params": others}]
    optimizer = torch.optim.SGD(groups, RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, loop.epochs * loop.steps, POWER)
    precision: Any = contextlib.nullcontext()
    if loop.precision == "mixed_bfloat16":
        precision = torch.autocast("cpu", torch.bfloat16)
    samples = TwinSamples(loop, dataset)
    loader: Any = DataLoader(
        samples,
        loop.batch_size,
        sampler=samples.sampler(count),
        num_workers=WORKERS,
        persistent_workers=True,
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    turns = Turns(connection)
    for epoch in range(loop.epochs):
        samples.epoch = epoch
        batches = iter(loader)  # the workers start while this loop waits, as those of tf.data do
        turns.wait()
        confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.long)
        for images, labels in batches:
            optimizer.zero_grad()
            with precision:
                logits = twin((images - mean) / std)
            logits = logits.float()
            loss = F.cross_entropy(logits, labels, ignore_index=255)
            loss.backward()
            optimizer.step()
            schedule.step()
            valid = labels < CLASSES
            cells = CLASSES * labels[valid] + logits.argmax(1)[valid]
            counts = torch.bincount(cells, minlength=CLASSES * CLASSES)
            confusion += counts.reshape(CLASSES, CLASSES)
            turns.step(loss.item())
        turns.report(process_memory("VmHWM") + samples.workers_memory())
    turns.finish()


# The reference's normalisation of RGB from 0 to 255.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


class TwinSamples:
    """The samples of a loop as a PyTorch data set: image (3, height, width) and label map."""

    def __init__(self, loop: Loop, dataset: SegmentationDataset) -> None:
        self.recipe = loop.recipe(dataset)
        self.epoch = 0

    def sampler(self, count: int) -> "TwinSampler":
        """Returns the positions of the samples of each epoch."""
        return TwinSampler(self, count)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        image, label, (height, width) = self.recipe.sample(position)
        images = np.empty((height, width, 3), "float32")
        images[:] = MEAN
        images[: image.shape[0], : image.shape[1]] = image
        labels = np.full((-(-height // 8), -(-width // 8)), 255, "int64")
        labels[: label.shape[0], : label.shape[1]] = label
        return images.transpose(2, 0, 1), labels

    def workers_memory(self) -> float:
        """Returns the memory in MiB that the DataLoader's workers do not share."""
        total = 0.0
        for child in multiprocessing.active_children():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{child.pid}/smaps_rollup").read_text("utf-8")
                sizes = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
                total += sizes["Private_Clean:"] + sizes["Private_Dirty:"]
        return total / 1024


@dataclass(frozen=True)
class TwinSampler:
    """The positions of the samples of one epoch in the endless stream."""

    samples: TwinSamples
    count: int

    def __iter__(self) -> Iterator[int]:
        first = self.samples.epoch * self.count
        return iter(range(first, first + self.count))

    def __len__(self) -> int:
        return self.count


class Process:
    """A loop in a process of its own."""

    def __init__(self, target: Callable[[Loop, Connection], None], loop: Loop) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(loop, theirs))

    def __enter__(self) -> "Process":
        self.process.start()
        self.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.join()

    def wait(self) -> None:
        """Waits until the loop is ready for its next epoch, or has finished."""
        self._receive()

    def epoch(self) -> Epoch:
        """Runs one epoch."""
        self.connection.send("go")
        result = self._receive()
        if not isinstance(result, Epoch):
            raise TypeError(f"expected an epoch, received {result!r}")
        return result

    def _receive(self) -> Any:
        while not self.connection.poll(1):
            if not self.process.is_alive():
                raise RuntimeError("A loop ended with an error; see its traceback above")
        return self.connection.recv()


def run(loop: Loop) -> tuple[list[Epoch], list[Epoch]]:
    """Runs both loops in turns, one epoch each, and returns the epochs of each."""
    epochs: tuple[list[Epoch], list[Epoch]] = ([], [])
    with ExitStack() as stack:
        both = [stack.enter_context(Process(target, loop)) for target in (train_ours, train_twin)]
        for _ in range(loop.epochs):
            for process, done in zip(both, epochs, strict=True):
                done.append(process.epoch())
                process.wait()  # validation and checkpoints do not disturb the other loop
    return epochs


def write_weights(folder: Path) -> tuple[str, str]:
    """Writes the same random weights for both loops, and returns the two files."""
    import torch

    import pdanet_tf
    from benchmarks.pytorch_twin import Twin
    from pdanet_tf.weights.torch import load_torch_state_dict

    torch.manual_seed(0)
    twin = Twin(MODEL, CLASSES)
    torch.save(twin.state_dict(), folder / "twin.pth")
    model = pdanet_tf.build_model(MODEL, CLASSES)
    states = (twin.encoder.state_dict(), twin.decoder.state_dict())
    load_torch_state_dict(model, *({k: v.numpy() for k, v in state.items()} for state in states))
    model.save(folder / "ours.keras")
    return str(folder / "ours.keras"), str(folder / "twin.pth")


def row(loop: Loop, ours: Sequence[Epoch], twins: Sequence[Epoch]) -> list[str]:
    """Returns the cells of one comparison."""
    images = loop.steps * loop.batch_size
    own, others = ([epoch.seconds for epoch in epochs[WARM_UP:]] for epochs in (ours, twins))
    ratios = [other / one for one, other in zip(own, others, strict=True)]
    return [
        f"{loop.size[0]} x {loop.size[1]}",
        str(loop.batch_size),
        loop.precision,
        f"{images / statistics.median(own):.2f}",
        f"{images / statistics.median(others):.2f}",
        f"{statistics.median(others) / statistics.median(own):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{ours[-1].memory:.0f}",
        f"{twins[-1].memory:.0f}",
    ]


def first_differences(ours: Sequence[Epoch], twins: Sequence[Epoch]) -> tuple[float, float]:
    """Returns the relative differences of the losses of the first two steps."""
    one, two = zip(ours[0].losses[:2], twins[0].losses[:2], strict=True)
    return abs(one[0] / one[1] - 1), abs(two[0] / two[1] - 1)


def main() -> None:
    """Runs all comparisons, then prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data-dir", required=True, help="folder of CamVid")
    parser.add_argument("--epochs", type=int, default=5, help="counted epochs of each loop")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file")
    options = parser.parse_args()
    precisions = ["float32"]
    if slow_precision("mixed_bfloat16", training=True) is None:
        precisions.append("mixed_bfloat16")
    rows, differences = [], []
    with tempfile.TemporaryDirectory() as folder:
        weights, state = write_weights(Path(folder))
        base = Loop(
            options.data_dir, weights, state, (96, 128), 8, 20, options.epochs + WARM_UP, "float32"
        )
        large = dataclasses.replace(base, size=(360, 480), batch_size=4, steps=6)
        loops = [
            dataclasses.replace(loop, precision=precision)
            for precision in precisions
            for loop in (base, large)
        ]
        for loop in loops:
            ours, twins = run(loop)
            rows.append(row(loop, ours, twins))
            if loop.precision == "float32":
                differences.append(first_differences(ours, twins))
    console = Console()
    print_table(console, HEADINGS, rows)
    before, after = (max(column) for column in zip(*differences, strict=True))
    text = page(
        "Training loops compared with PyTorch",
        "Written by `python -m benchmarks.compare_training`; do not edit. `pdanet_tf.train` trains "
        f"{MODEL} on CamVid, and so does a loop in PyTorch with the model of "
        f"`benchmarks/pytorch_twin.py` and a DataLoader of {WORKERS} workers. Both loops start "
        "from the same weights, draw the same samples (random scale, crop and flip), and compute "
        "the same loss at 1/8, the same metrics (mean IoU and pixel accuracy) and the same "
        "updates (SGD, polynomial decay). In float32 the relative difference of the losses is at "
        f"most {before:.1e} in the first step, and {after:.1e} in the second, after one update.",
        markdown_table(HEADINGS, rows),
        "Each loop runs in a process of its own that uses all cores. The processes take turns, "
        f"one epoch each, in {options.epochs} rounds after {WARM_UP} that is not counted. An epoch "
        "is timed from its start to the end of its last step, without validation. Images per "
        "second are medians, and ratios are ratios of medians; the range is that of the ratios "
        "within a round. Memory is the peak of the process; for PyTorch, it includes what the "
        "workers do not share.",
        f"Measured on {describe_machine('tensorflow', 'keras', 'torch')}.",
    )
    write_atomically(options.output, text)
    console.print(f"The table is in {options.output}")


if __name__ == "__main__":
    main()
