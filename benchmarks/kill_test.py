"""Kills training with SIGKILL at random moments, resumes it, and compares it with a whole run.

Run it from the root of the repository (`make kill-test`); it writes a section of
`docs/training.md`:

    python -m benchmarks.kill_test [--kills 21] [--seed 0] [--output FILE]

Every process runs `pdanet-tf train`, always with the same options. It is forked from one that has
imported TensorFlow, which saves several seconds each. Most kills come at a random moment after the
first state that the process saves; every fifth comes while it starts.
"""

import argparse
import dataclasses
import io
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.pages import markdown_table, print_table, replace_section
from pdanet_tf import cli
from pdanet_tf.base.markdown import fill
from pdanet_tf.training.checkpoint_files import check_checkpoint
from pdanet_tf.training.summaries import SUMMARY_FILE

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "training.md"
SECTION = "kill_test"
IMAGES = {"train": 12, "validation": 6}
SIZE = (48, 64)
COMMON = {
    "import": "benchmarks.tiny_model",
    "model": "tiny_three",
    "dataset": "folder",
    "num_classes": 3,
    "epochs": 3,
    "steps_per_epoch": 18,
    "batch_size": 2,
    "crop_size": (32, 32),
    "checkpoint_every": 3,
}
# The name of a case, and its options.
CASES: dict[str, dict[str, Any]] = {
    "SGD, float32": {},
    "Adam, 4 steps per update, moving average": {
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "accumulation_steps": 4,
        "ema": 0.9,
    },
    "SGD, mixed_bfloat16": {"precision": "mixed_bfloat16"},
}
STARTS = 5  # of this many kills one comes while the process starts
CONTEXT = multiprocessing.get_context("forkserver")
# Set in each process that trains: the server of forks may have been started without them.
_ENVIRONMENT = {"TF_DETERMINISTIC_OPS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
_PAUSE = 0.01  # seconds between two looks at the folder of the run


@dataclass
class Outcome:
    """What happened in the runs of a case.

    Attributes:
        runs: Number of runs that were killed.
        kills: Number of kills.
        starting: How many of them came before the first step of the process.
        saving: How many of them left a file that was not whole.
        differing: Names of files that differ from those of the whole run, for each run.
    """

    runs: int = 0
    kills: int = 0
    starting: int = 0
    saving: int = 0
    differing: list[list[str]] = dataclasses.field(default_factory=list)

    @property
    def exact(self) -> int:
        """Number of runs that ended as the whole one, to the last bit."""
        return sum(not names for names in self.differing)


def write_images(root: Path) -> None:
    """Writes images of three grey tones with noise, and their label maps."""
    rng = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for index in range(count):
            label = rng.integers(0, 3, (4, 4)).astype("uint8")
            label.flat[:3] = range(3)
            label = np.asarray(Image.fromarray(label).resize(SIZE[::-1], Image.Resampling.NEAREST))
            image = np.stack([label * 80] * 3, -1) + rng.integers(0, 40, (*SIZE, 3))
            files = (("images", image.astype("uint8"), "jpg"), ("annotations", label, "png"))
            for kind, array, ending in files:
                path = root / kind / split / f"{index}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


def start(options: Mapping[str, Any], data: Path, folder: Path) -> BaseProcess:
    """Starts `pdanet-tf train`."""
    arguments = ["train"]
    given = {**COMMON, **options, "data_dir": data, "output_dir": folder}
    for name, value in given.items():
        values = value if isinstance(value, tuple) else (value,)
        arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    process = CONTEXT.Process(target=_train, args=(arguments, _log(folder)))
    process.start()
    return process


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def _train(arguments: Sequence[str], log: Path) -> None:
    """Runs the command in a process of its own, which writes what it prints to a file."""
    os.environ.update(_ENVIRONMENT)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(cli.main(arguments))


def wait(process: BaseProcess, folder: Path) -> None:
    """Waits until a run has ended as planned."""
    process.join()
    if process.exitcode:
        raise RuntimeError(f"pdanet-tf train failed:\n{_log(folder).read_text()}")


def wait_for_state(process: BaseProcess, file: Path) -> float | None:
    """Waits until a process has written a state; returns the seconds, or None if it has ended."""
    began, former = time.monotonic(), _version(file)
    while _version(file) == former:
        if not process.is_alive():
            return None
        time.sleep(_PAUSE)
    return time.monotonic() - began


def _version(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def kill_after(process: BaseProcess, seconds: float) -> bool:
    """Kills a process after some time; returns False if it has ended before."""
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def numbers(checkpoint: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the weights and the variables of the optimizer in a `.keras` file.

    The state of the random generators is not among them: a run sets it from the seed and the step.
    """
    with zipfile.ZipFile(checkpoint) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, np.ndarray] = {}

    def add(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and "seed_generator" not in name:
            found[name] = entry[()]

    with h5py.File(content) as file:
        file.visititems(add)
    yield from found.items()


def differences(run: Path, whole: Path) -> list[str]:
    """Returns the names of the files of a run that differ from those of another."""
    found = []
    for name in ("last.keras", "best.keras"):
        pairs = list(zip(numbers(run / name), numbers(whole / name), strict=True))
        if not all(one == other and np.array_equal(a, b) for (one, a), (other, b) in pairs):
            found.append(name)
    if (run / "history.csv").read_bytes() != (whole / "history.csv").read_bytes():
        found.append("history.csv")
    return found


def kill_runs(
    options: Mapping[str, Any], kills: int, rng: random.Random, root: Path, console: Console
) -> Outcome:
    """Trains once without a kill, and then until there were `kills` kills.

    Args:
        options: The options of the case.
        kills: Number of kills.
        rng: Chooses the moments.
        root: A folder for the runs, which contains the images.
        console: Where each kill is printed.
    """
    data, whole = root / "data", root / "whole"
    process = start(options, data, whole)
    starting = wait_for_state(process, whole / "last.keras") or 0.0
    began = time.monotonic()
    wait(process, whole)
    training = time.monotonic() - began  # from the first state to the end
    outcome = Outcome()
    while outcome.kills < kills:
        folder = root / f"run-{outcome.runs}"
        outcome.runs += 1
        while True:
            process = start(options, data, folder)
            left = kills - outcome.kills
            if not left:
                wait(process, folder)
                break
            is_early = outcome.kills % STARTS == STARTS - 1
            if is_early:
                was_killed = kill_after(process, rng.uniform(0, starting))
            elif wait_for_state(process, folder / "last.keras") is None:
                wait(process, folder)
                break
            else:
                was_killed = kill_after(process, rng.uniform(0, training / 2))
            if not was_killed:
                wait(process, folder)
                break
            outcome.kills += 1
            outcome.starting += is_early
            outcome.saving += any(folder.glob(".*.tmp"))
            if (folder / "last.keras").exists():
                check_checkpoint(folder / "last.keras")
            console.print(f"  kill {outcome.kills} in {folder.name}", highlight=False)
            if (folder / SUMMARY_FILE).exists():  # killed while it ended: nothing is left to do
                break
        outcome.differing.append(differences(folder, whole))
    return outcome


def describe(outcomes: Mapping[str, Outcome], seconds: float) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and the rows of the table."""
    headings = ["run", "kills", "while starting", "while saving", "runs", "ended exactly alike"]
    rows = [
        [
            name,
            *map(str, (each.kills, each.starting, each.saving, each.runs)),
            f"{each.exact} of {each.runs}",
        ]
        for name, each in outcomes.items()
    ]
    return headings, rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the test; returns 1 if a run ended otherwise than the whole one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=21, help="number of kills, for all cases")
    parser.add_argument("--cases", type=int, default=len(CASES), help="number of cases")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--output", type=Path, help="page to write to, such as docs/training.md")
    options = parser.parse_args(arguments)
    console, rng, began = Console(), random.Random(options.seed), time.monotonic()
    CONTEXT.set_forkserver_preload(["benchmarks.tiny_model", "pdanet_tf.training.run"])
    outcomes = {}
    for index, (name, case) in enumerate(list(CASES.items())[: options.cases]):
        console.print(name, highlight=False)
        kills = (options.kills + index) // options.cases
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder) / "data")
            outcomes[name] = kill_runs(case, kills, rng, Path(folder), console)
        for number, names in enumerate(outcomes[name].differing):
            if names:
                console.print(f"  run-{number} differs: {', '.join(names)}", highlight=False)
        alike = f"{outcomes[name].exact} of {outcomes[name].runs} runs ended exactly alike"
        console.print(f"  {alike}", highlight=False)
    headings, rows = describe(outcomes, time.monotonic() - began)
    print_table(console, headings, rows)
    minutes = (time.monotonic() - began) / 60
    if options.output is not None:
        replace_section(options.output, SECTION, _section(headings, rows, minutes))
    return int(any(each.exact < each.runs for each in outcomes.values()))


def _section(headings: Sequence[str], rows: Sequence[Sequence[str]], minutes: float) -> str:
    text = (
        "Written by `make kill-test`; do not edit. A process of `pdanet-tf train` is killed with "
        "SIGKILL at random moments and started again with the same command, until it ends. The "
        "weights, the optimizer and its moving averages, `best.keras` and `history.csv` are then "
        "compared, bit by bit, with those of a run that was never killed. Each run has "
        f"{COMMON['epochs']} epochs of {COMMON['steps_per_epoch']} steps of a model of five "
        "convolutions with batch norm and dropout, "
        f"`checkpoint_every={COMMON['checkpoint_every']}`, and deterministic operations "
        "(`TF_DETERMINISTIC_OPS=1`). The test took "
        f"{minutes:.0f} minutes."
    )
    return f"{fill(text)}\n\n{markdown_table(headings, rows)}"


if __name__ == "__main__":
    sys.exit(main())
