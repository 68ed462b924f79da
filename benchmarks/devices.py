"""Trains on one device and on several of this machine, and compares weights and times per step.

Run it from the root of the repository (extra `jax`); it writes a section of
`docs/many_machines.md`:

    python -m benchmarks.devices [--steps 20] [--output FILE]

All devices are this machine's CPU. Every set-up begins with the same weights, in processes of its
own.
"""

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.kill_test import numbers
from benchmarks.pages import markdown_table, print_table, replace_section
from pdanet_tf.base.markdown import fill

ROOT = Path(__file__).resolve().parents[1]
SECTION = "devices"
OPTIONS: dict[str, Any] = {
    "model": "fcn_resnet18_quarter",
    "dataset": "synthetic",
    "epochs": 1,
    "batch_size": 4,
    "crop_size": (144, 192),
    "dropout": 0.0,
    # At higher rates, rounding changes the sign of an activation some steps later.
    "learning_rate": 1e-5,
}
_FIRST = 3  # steps that are not timed: the first one traces the graph
_LIMIT = 1800  # seconds for a set-up; other work on the machine makes it slower


@dataclass(frozen=True)
class Setup:
    """How a run is started.

    Attributes:
        name: Name in the table.
        backend: Backend of Keras.
        processes: Number of processes that train together.
        devices: Number of devices of each process.
    """

    name: str
    backend: str
    processes: int = 1
    devices: int = 1

    def environment(self, addresses: Sequence[str], index: int) -> dict[str, str]:
        """Returns the variables with which a process is started."""
        variables = {
            "KERAS_BACKEND": self.backend,
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if self.backend == "jax" and self.devices > 1:
            variables["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={self.devices}"
        if self.processes > 1:
            task = {"type": "worker", "index": index}
            named = {"cluster": {"worker": list(addresses)}, "task": task}
            variables["TF_CONFIG"] = json.dumps(named)
        return variables


# The first one of each backend is what the times of the others are compared with.
SETUPS = (
    Setup("TensorFlow, 1 device", "tensorflow"),
    Setup("TensorFlow, 2 replicas", "tensorflow", devices=2),
    Setup("TensorFlow, 2 workers", "tensorflow", processes=2),
    Setup("JAX, 1 device", "jax"),
    Setup("JAX, 2 devices", "jax", devices=2),
    Setup("JAX, 2 processes", "jax", processes=2),
)


@dataclass(frozen=True)
class Outcome:
    """What a set-up ended with.

    Attributes:
        weights: All weights and averages of batch norm, as one vector.
        seconds: Median time of a step.
    """

    weights: np.ndarray
    seconds: float


def run(setup: Setup, folder: Path, start: Path, steps: int) -> Outcome:
    """Trains with a set-up.

    Args:
        setup: The set-up.
        folder: Folder for the run, which does not exist.
        start: A `.keras` file with the initial weights.
        steps: Number of steps.

    Raises:
        RuntimeError: If a process fails.
    """
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(setup.processes)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    arguments = ["--run", str(folder), "--start", str(start), "--steps", str(steps)]
    if setup.backend == "tensorflow":
        arguments += ["--replicas", str(setup.devices)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.devices", *arguments],
            cwd=ROOT,
            env={**os.environ, **setup.environment(addresses, index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(setup.processes)
    ]
    try:
        done = [(*process.communicate(timeout=_LIMIT), process.returncode) for process in started]
    finally:
        for process in started:
            process.kill()
    for _, errors, status in done:
        if status:
            raise RuntimeError(f"{setup.name} failed:\n{errors}")
    return Outcome(read_weights(folder / "last.keras"), json.loads(done[0][0].splitlines()[-1]))


def read_weights(checkpoint: Path) -> np.ndarray:
    """Returns all weights of a `.keras` file, and the averages of batch norm, as one vector."""
    found = [np.ravel(array) for name, array in numbers(checkpoint) if name.startswith("layers/")]
    return np.concatenate(found).astype("float64")


def difference(weights: np.ndarray, expected: np.ndarray) -> float:
    """Returns the norm of the difference of two vectors, relative to that of the second one."""
    return float(np.linalg.norm(weights - expected) / np.linalg.norm(expected))


def _save_start(file: Path) -> None:
    """Writes the initial weights of all runs."""
    import keras

    from pdanet_tf import build_model
    from pdanet_tf.data.sources.synthetic import SYNTHETIC_CLASSES

    keras.utils.set_random_seed(0)
    build_model(OPTIONS["model"], len(SYNTHETIC_CLASSES)).save(file)


def _train(folder: Path, start: Path, steps: int, replicas: int) -> None:
    """Trains in this process, and prints the median time of a step in seconds."""
    from contextlib import nullcontext

    import keras

    from pdanet_tf import TrainConfig, train

    class StepEnds(keras.callbacks.Callback):
        """Notes when each step ends."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            """Waits for the result of the step, which a backend may return before it is there."""
            float((logs or {})["loss"])
            self.times.append(time.perf_counter())

    scope: Any = nullcontext()
    if replicas > 1:
        import tensorflow as tf

        cpus = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpus[0], parts)
        names = [f"CPU:{index}" for index in range(replicas)]
        scope = tf.distribute.MirroredStrategy(names).scope()
    ends = StepEnds()
    options = {**OPTIONS, "steps_per_epoch": steps, "weights": str(start)}
    with scope:
        train(TrainConfig(output_dir=str(folder), **options), verbose=0, callbacks=[ends])
    between = [later - earlier for earlier, later in itertools.pairwise(ends.times)]
    print(json.dumps(statistics.median(between[_FIRST - 1 :])))


def describe(
    outcomes: Mapping[Setup, Outcome], start: np.ndarray
) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and the rows of the table.

    Args:
        outcomes: By set-up, in the order of `SETUPS`.
        start: The initial weights.
    """
    headings = [
        "set-up",
        "difference of the weights",
        "of their change",
        "time per step, ms",
        "times one device",
    ]
    reference = outcomes[SETUPS[0]].weights
    alone: dict[str, float] = {}
    rows = []
    for setup, outcome in outcomes.items():
        seconds = alone.setdefault(setup.backend, outcome.seconds)
        way = np.linalg.norm(outcome.weights - reference) / np.linalg.norm(reference - start)
        is_reference = setup is SETUPS[0]
        rows.append(
            [
                setup.name,
                "-" if is_reference else f"{difference(outcome.weights, reference):.0e}",
                "-" if is_reference else f"{way:.0e}",
                f"{1000 * outcome.seconds:.0f}",
                f"{outcome.seconds / seconds:.2f}",
            ]
        )
    return headings, rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all set-ups, or trains in one process of a set-up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="number of steps of each set-up")
    parser.add_argument("--output", type=Path, help="page to write to: docs/many_machines.md")
    for name in ("--run", "--start"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--replicas", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.steps <= _FIRST:
        parser.error(f"--steps must be above {_FIRST}: the first {_FIRST} steps are not timed")
    if options.run is not None:
        _train(options.run, options.start, options.steps, options.replicas)
        return 0
    console, outcomes = Console(), {}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.keras"
        _save_start(start)
        for number, setup in enumerate(SETUPS):
            began = time.monotonic()
            outcomes[setup] = run(setup, Path(folder) / str(number), start, options.steps)
            text = f"{setup.name}: {1000 * outcomes[setup].seconds:.0f} ms per step, "
            console.print(f"{text}{time.monotonic() - began:.0f} s in all", highlight=False)
        headings, rows = describe(outcomes, read_weights(start))
    print_table(console, headings, rows)
    if options.output is not None:
        replace_section(options.output, SECTION, _section(headings, rows, options.steps))
    return 0


def _section(headings: Sequence[str], rows: Sequence[Sequence[str]], steps: int) -> str:
    height, width = OPTIONS["crop_size"]
    before = (
        "Written by `python -m benchmarks.devices --output docs/many_machines.md`; do not edit. "
        f"{steps} steps of `{OPTIONS['model']}` with {OPTIONS['batch_size']} crops of {height} x "
        f"{width} pixels per step, learning rate {OPTIONS['learning_rate']:.5f}, from the same "
        "initial weights:"
    )
    after = (
        "The difference is the norm of the difference from the weights and averages of batch norm "
        "of TensorFlow on one device, relative to the norm of these, and to that of their change "
        f"in training. The time is the median of the steps after the first {_FIRST}, and is "
        "compared with one device of the same backend. All devices are CPU devices of one machine "
        f"with {os.cpu_count()} cores: one device uses all of them, and two devices share them, so "
        "the table shows what the exchange costs, and not what a second machine gains."
    )
    return "\n\n".join([fill(before), markdown_table(headings, rows), fill(after)])


if __name__ == "__main__":
    sys.exit(main())
