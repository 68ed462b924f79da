"""Measures where `pdanet-tf train` spends its time, from the command to the end of its last epoch.

Run it from the root of the repository; it writes a section of `docs/performance.md`:

    python -m benchmarks.training_time [--data-dir CamVid] [--rounds 3] [--output FILE]
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import pkgutil
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from benchmarks.pages import markdown_table, print_table, replace_section
from pdanet_tf.base.markdown import fill
from pdanet_tf.base.startup import import_keras_quietly, keep_freed_memory
from pdanet_tf.benchmark.machine import describe_machine

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
SECTION = "training_time"
WARM_UP = 3  # steps of a run that are not counted, after the first
STEPS = 12  # steps that are counted
# Functions and methods whose calls are timed, and what they do.
TIMED = {
    "pdanet_tf.training.session.Session.__init__": "opening the data",
    "pdanet_tf.training.session.Session.check": "checks of options and data",
    "pdanet_tf.training.session.compiled_model": "building the model",
    "pdanet_tf.training.checkpoints.Checkpoints.on_train_begin": "first checkpoint",
    "pdanet_tf.training.callbacks.StopOnNonFinite.on_epoch_end": "checks of the weights",
    "pdanet_tf.training.callbacks.Validation.on_epoch_end": "validation",
    "pdanet_tf.training.checkpoints.Checkpoints.on_epoch_end": "checkpoints",
    "keras.callbacks.TensorBoard.on_epoch_end": "logs",
    "pdanet_tf.training.run.evaluate": "evaluation of the best model",
}


@dataclass(frozen=True)
class Case:
    """One case: what is trained.

    Attributes:
        dataset: "synthetic" or "camvid".
        data_dir: Folder of CamVid.
        size: (height, width) of the crops.
        batch_size: Images per step.
        steps: Steps per epoch; None for all images.
    """

    dataset: str
    data_dir: str | None
    size: tuple[int, int]
    batch_size: int
    steps: int | None

    @property
    def title(self) -> str:
        """The case in a table."""
        return f"{self.dataset}, {self.batch_size} x {self.size[0]} x {self.size[1]}"


def page_faults() -> int:
    """Returns the number of page faults of this process that needed no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def run_command(case: Case, folder: str) -> dict[str, Any]:
    """Runs `pdanet-tf train` in this process; returns the times of its events, parts and steps."""
    import_keras_quietly()
    import keras

    import pdanet_tf.training.session
    from pdanet_tf import cli

    events, parts, steps = {"imports": time.time()}, dict.fromkeys(TIMED.values(), 0.0), []

    class Steps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            steps.append((time.time(), page_faults()))

    def timed(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.time()
            try:
                return function(*arguments, **options)
            finally:
                parts[part] += time.time() - started

        return call

    run_class = pdanet_tf.training.session.Session
    callbacks = run_class._callbacks
    arguments = [
        *("train", "--output-dir", f"{folder}/run", "--epochs", "1", "--dataset", case.dataset),
        *("--crop-size", *map(str, case.size), "--batch-size", str(case.batch_size)),
        *(("--data-dir", case.data_dir) if case.data_dir else ()),
        *(("--steps-per-epoch", str(case.steps)) if case.steps else ()),
    ]
    with contextlib.ExitStack() as stack:
        for target, part in TIMED.items():
            function = pkgutil.resolve_name(target)
            stack.enter_context(mock.patch(target, timed(function, part)))
        stack.enter_context(
            mock.patch.object(run_class, "_callbacks", lambda *args: [*callbacks(*args), Steps()])
        )
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if cli.main(arguments):
            raise RuntimeError("pdanet-tf train failed; see its message above")
    events["end"] = time.time()
    return {"events": events, "parts": parts, "steps": steps}


def run_bare(case: Case, with_metrics: bool = True) -> list[tuple[float, int]]:
    """Takes steps of the same model on one batch with `train_on_batch`."""
    import_keras_quietly()
    import numpy as np

    import pdanet_tf
    from pdanet_tf.losses import SegmentationCrossEntropy
    from pdanet_tf.metrics import MeanIoU, PixelAccuracy
    from pdanet_tf.optimizers import SGD

    classes = pdanet_tf.load_dataset(case.dataset, "train", case.data_dir).num_classes
    model = pdanet_tf.build_model(num_classes=classes, upsample=False)
    metrics = [MeanIoU(classes), PixelAccuracy(classes)] if with_metrics else []
    model.compile(SGD(1e-3), SegmentationCrossEntropy(), metrics=metrics, jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (case.batch_size, *case.size, 3)).astype("float32")
    labels = rng.integers(0, classes, (case.batch_size, *(-(-side // 8) for side in case.size)))
    steps = []
    for _ in range(STEPS + WARM_UP + 1):
        model.train_on_batch(images, labels)
        steps.append((time.time(), page_faults()))
    return steps


def run_data(case: Case) -> list[tuple[float, int]]:
    """Draws batches, and does nothing else."""
    import_keras_quietly()
    import pdanet_tf
    from pdanet_tf.data.batches.pipeline import crop_batches

    dataset = pdanet_tf.load_dataset(case.dataset, "train", case.data_dir)
    steps = []
    for _ in crop_batches(dataset, case.batch_size, case.size).take(4 * STEPS + WARM_UP + 1):
        steps.append((time.time(), page_faults()))
    return steps


def measure(kind: str, case: Case) -> dict[str, Any]:
    """Measures in a process of its own, and returns what it reports and when it was started."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        options = json.dumps(dataclasses.asdict(case))
        started = time.time()
        command = [sys.executable, "-m", "benchmarks.training_time"]
        subprocess.run([*command, "--child", kind, options, str(result)], check=True)
        return {"started": started, **json.loads(result.read_text("utf-8"))}


def child(kind: str, options: str, result: str) -> None:
    """Measures in this process, and writes a JSON file."""
    keep_freed_memory(one_arena=True)  # as the command line does
    content = json.loads(options)
    case = Case(**{**content, "size": tuple(content["size"])})
    if kind == "command":
        report = run_command(case, str(Path(result).parent))
    elif kind == "data":
        report = {"steps": run_data(case)}
    else:
        report = {"steps": run_bare(case, with_metrics=kind == "bare")}
    Path(result).write_text(json.dumps(report), "utf-8")


def per_step(report: dict[str, Any]) -> tuple[float, float]:
    """Returns the median seconds and page faults from the end of a step to that of the next."""
    steps = report["steps"][WARM_UP:]
    differences = [
        (one[0] - other[0], one[1] - other[1]) for other, one in itertools.pairwise(steps)
    ]
    seconds, faults = zip(*differences, strict=True)
    return statistics.median(seconds), statistics.median(faults)


def median(reports: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """Returns the median over the rounds."""
    return statistics.median(map(value, reports))


def step_row(case: Case, reports: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Returns the cells of the table of steps."""
    seconds = {kind: median(reports[kind], lambda report: per_step(report)[0]) for kind in reports}
    faults = median(reports["command"], lambda report: per_step(report)[1])
    ratios = [
        per_step(one)[0] / per_step(other)[0]
        for one, other in zip(reports["command"], reports["bare"], strict=True)
    ]
    return [
        case.title,
        f"{1000 * seconds['command']:.0f}",
        f"{1000 * seconds['bare']:.0f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{faults:.0f}",
        f"{seconds['bare without metrics'] / seconds['bare']:.2f}",
        f"{1000 * seconds['data']:.0f}",
    ]


def part_rows(reports: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Returns the rows of the table of parts: seconds, in the order of the run."""
    epoch_parts = ("checks of the weights", "validation", "checkpoints", "logs")
    last = "evaluation of the best model"

    def seconds(report: dict[str, Any]) -> dict[str, float]:
        parts, steps, events = report["parts"], report["steps"], report["events"]
        first = steps[0][0]
        before = [name for name in TIMED.values() if name not in (*epoch_parts, last)]
        known = {name: parts[name] for name in before}
        imports = events["imports"] - report["started"]
        step = per_step(report)[0]
        tracing = first - report["started"] - imports - sum(known.values()) - step
        trained = steps[-1][0] - first
        ended = {name: parts[name] for name in (*epoch_parts, last)}
        rest = events["end"] - steps[-1][0] - sum(ended.values())
        return {
            "Python and imports": imports,
            **known,
            "tracing and optimising the graph": tracing,
            "first step": step,
            "**command to end of first step**": first - report["started"],
            f"{len(steps) - 1} more steps": trained,
            **ended,
            "everything else": rest,
            "**the whole command**": events["end"] - report["started"],
            "**share of validation, checkpoints and logs in the epoch**": sum(
                parts[name] for name in epoch_parts
            )
            / (trained + step + sum(parts[name] for name in epoch_parts)),
        }

    all_seconds = [seconds(report) for report in reports]
    rows = []
    for name in all_seconds[0]:
        value = statistics.median(each[name] for each in all_seconds)
        rows.append([name, f"{100 * value:.1f}%" if "share" in name else f"{value:.1f}"])
    return rows


STEP_HEADINGS = (
    "what",
    "step of `pdanet-tf train`, ms",
    "`train_on_batch`, ms",
    "ratio",
    "range",
    "page faults per step",
    "`train_on_batch` without metrics / with them",
    "one batch of data alone, ms",
)


def cases(data_dir: str | None) -> list[Case]:
    """Returns the cases: synthetic scenes, and CamVid if there is a folder."""
    small, large = ((96, 128), 8), ((360, 480), 2)
    found = [Case("synthetic", None, *each, steps=STEPS + WARM_UP + 1) for each in (small, large)]
    if data_dir is not None:
        found += [
            Case("camvid", data_dir, *each, steps=STEPS + WARM_UP + 1) for each in (small, large)
        ]
    return found


def main() -> None:
    """Measures all cases, then prints the tables and writes the section."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of CamVid; without it, synthetic scenes only")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file with the section")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    kinds = ("command", "bare", "bare without metrics", "data")
    console, rows = Console(), []
    for case in cases(options.data_dir):
        reports: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                reports[kind].append(measure(kind, case))
        rows.append(step_row(case, reports))
    name = "camvid" if options.data_dir else "synthetic"
    epoch = Case(name, options.data_dir, (360, 480), 4, steps=None)
    parts = part_rows([measure("command", epoch)])
    print_table(console, STEP_HEADINGS, rows)
    print_table(console, ("part", "s"), parts)
    text = "\n\n".join(
        [
            fill(
                "**A training run, part by part.** Written by "
                "`python -m benchmarks.training_time`; do not edit."
            ),
            markdown_table(STEP_HEADINGS, rows),
            fill(
                "Medians from the end of one step to the end of the next, each in a process of its "
                f"own, in turns, in {options.rounds} rounds of {STEPS} steps after {WARM_UP} that "
                "are not counted. Data are drawn while steps run; the last column is the time of a "
                "batch if nothing else runs."
            ),
            fill(f"One epoch of `pdanet-tf train` ({epoch.title}, all images), in seconds:"),
            markdown_table(("part", "s"), parts),
            fill(f"Measured on {describe_machine('tensorflow', 'keras')}."),
        ]
    )
    replace_section(options.output, SECTION, text)
    console.print(f"The tables are in {options.output}")


if __name__ == "__main__":
    main()
