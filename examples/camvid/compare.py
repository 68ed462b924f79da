"""Runs a study on CamVid, continues where it was stopped, and writes its results.

    python examples/camvid/compare.py models --data-dir CamVid --epochs 30

The studies are those of `studies.py`: "models" (FCN, PSPNet, DANet and PDANet, with and without
deep supervision), "gamma" (do the attention scales leave zero?) and "ablation" (what does each part
of the recipe give?). Every run is a process of its own, `pdanet-tf train`. The same command again
skips the runs that have ended and resumes the one that was stopped; a run that fails does not stop
the others. At the end `report.py` writes the folder `--results`. Runs that were made elsewhere are
not skipped: `--only` gives the names of those that are to run.
"""

import argparse
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from records import Call, calls_file, count_epochs
from report import write_report
from studies import RECIPE, STUDIES, Run, make_runs

from pdanet_tf.base.catalog import model_names
from pdanet_tf.base.choices import TRAINING_PRECISIONS, check_choice
from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.sources.camvid import camvid
from pdanet_tf.recipes import find
from pdanet_tf.training.config import TrainConfig

# Options in which the run in a folder may differ from the one that is asked for.
_NOT_COMPARED = ("output_dir", "data_dir", "resume")


def check_same_run(run: Run) -> None:
    """Checks that the run in a folder, if there is one, has the options of the study.

    Raises:
        ValueError: If it differs, or its `config.json` is damaged; the message names the options.
    """
    file = run.folder / "config.json"
    if not file.is_file():
        return
    found, asked = TrainConfig.load(file), run.configure().resolved()
    if asked.steps_per_epoch is None:  # a run records the number of its steps
        asked = dataclasses.replace(asked, steps_per_epoch=found.steps_per_epoch)
    different = [
        f"{field.name}={getattr(found, field.name)}, not {getattr(asked, field.name)}"
        for field in dataclasses.fields(TrainConfig)
        if field.name not in _NOT_COMPARED
        and getattr(found, field.name) != getattr(asked, field.name)
    ]
    if different:
        raise ValueError(
            f"{run.folder} holds another run, with {'; '.join(different)}. Choose the same "
            "options, or another folder with --runs"
        )


def train(run: Run, data_dir: str) -> int:
    """Starts a run, or continues it, in a process of its own, and records how long that took.

    Returns:
        The exit status of `pdanet-tf train`.
    """
    arguments = ["--output-dir", str(run.folder), "--data-dir", data_dir]
    if run.is_begun:
        arguments.append("--resume")
    else:  # a file, because options of the recipe that are None here have no argument
        config = run.folder.with_suffix(".json")
        config.parent.mkdir(parents=True, exist_ok=True)
        run.configure().save(config)
        arguments += ["--config", str(config)]
    command = [sys.executable, "-m", "pdanet_tf.cli", "train", *arguments]
    first, started = count_epochs(run.folder), time.time()
    status = -signal.SIGINT
    try:
        status = subprocess.run(command).returncode
    finally:
        call = Call(first, count_epochs(run.folder), started, time.time() - started, status)
        call.append_to(calls_file(run.folder))
    return status


def run_all(runs: list[Run], data_dir: str) -> dict[str, str]:
    """Trains everything that has not ended.

    Returns:
        What went wrong, by the folders of the runs that failed.
    """
    failed: dict[str, str] = {}
    for number, run in enumerate(runs, 1):
        title = f"== Run {number} of {len(runs)}, {run.folder}"
        try:
            check_same_run(run)
        except ValueError as error:
            print(f"{title}: {error}", flush=True)
            failed[str(run.folder)] = str(error)
            continue
        if run.has_ended:
            print(f"{title}: has ended before", flush=True)
            continue
        print(f"{title}: {'continues' if run.is_begun else 'starts'}", flush=True)
        started = time.monotonic()
        status = train(run, data_dir)
        if status == 130:  # Ctrl-C
            raise KeyboardInterrupt
        print(f"{title}: status {status} after {time.monotonic() - started:.0f} s", flush=True)
        if status:
            failed[str(run.folder)] = f"pdanet-tf train ended with status {status}"
    return failed


def choose(runs: list[Run], study: str, names: list[str] | None) -> list[Run]:
    """Returns the runs that have one of the names, all if there are none.

    Raises:
        ValueError: If the study has no run of a name; the message names the nearest.
    """
    if names is None:
        return runs
    if unknown := set(names) - {run.name for run in runs}:
        nearest = with_nearest(sorted(unknown), [run.name for run in runs])
        raise ValueError(f"--only: the study {study!r} has no run {nearest}")
    return [run for run in runs if run.name in names]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the options of the command line."""
    recipe = find(RECIPE).config
    parser = argparse.ArgumentParser(description="Runs a study on CamVid.")
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data-dir", required=True, help="folder of CamVid")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/camvid"), help="folder of the runs (%(default)s)"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/camvid"),
        help="folder of the results (%(default)s)",
    )
    parser.add_argument("--epochs", type=int, help=f"epochs of each run ({recipe.epochs})")
    parser.add_argument(
        "--steps", type=int, help="steps per epoch, for a trial; by default all images"
    )
    parser.add_argument("--batch-size", type=int, help=f"images per step ({recipe.batch_size})")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="seeds, each for all runs (0)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of runs; by default all")
    parser.add_argument(
        "--precision",
        choices=TRAINING_PRECISIONS,
        help="dtype policy (float32)",
    )
    parser.add_argument(
        "--backbone", default="resnet18", help="backbone of the models (%(default)s)"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Runs the study; returns the exit status."""
    options = parse()
    names = {
        "epochs": options.epochs,
        "steps_per_epoch": options.steps,
        "batch_size": options.batch_size,
        "precision": options.precision,
    }
    shared: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
    runs = make_runs(options.study, options.runs, options.backbone, options.seeds, shared)
    try:  # before anything is started
        for split in ("train", "validation"):
            camvid(options.data_dir, split)
        for run in runs:
            check_choice("model", run.configure().model, model_names())
        runs = choose(runs, options.study, options.only)
    except ValueError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 2
    # `kill` ends the run as Ctrl-C does, which also ends its process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = run_all(runs, options.data_dir)
    except KeyboardInterrupt:
        print("Stopped. The same command continues.", file=sys.stderr)
        return 130
    for folder, reason in failed.items():
        print(f"Failed: {folder}: {reason}", file=sys.stderr)
    try:
        write_report(options.runs, options.results, options.backbone, options.data_dir)
    except (ValueError, OSError) as error:
        print(f"compare.py: error: the results cannot be written: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
