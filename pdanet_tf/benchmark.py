"""How fast models are: every case in a process of its own, all of them taking turns.

Machines are noisy, and what one model does to caches and allocators is felt by the next. So each
case has its own process, rounds go over all cases, and figures are medians of the rounds.
"""

import contextlib
import ctypes
import functools
import gc
import json
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image
from rich.table import Table

from pdanet_tf.choices import BACKENDS, BENCHMARK_PRECISIONS, BENCHMARK_TASKS, PRECISIONS
from pdanet_tf.files import write_atomically
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.models import build_model
from pdanet_tf.models.registry import find_model
from pdanet_tf.operations import count_flops
from pdanet_tf.optimizers import SGD
from pdanet_tf.progress import track
from pdanet_tf.visualization import draw_bar_chart

POLICIES = dict(zip(BENCHMARK_PRECISIONS, PRECISIONS, strict=True))
NUM_CLASSES = 150
_SMALL = ((64, 64), (72, 80))  # of two sizes: a graph for all sizes is traced at the second
_WARM_UP_STEPS = 2  # beside those on small images
_PRODUCT = 2048  # rows and columns of the matrices that tell the machine's peak


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        model: One of `pdanet_tf.list_models()`.
        task: "predict", from normalised images to logits at the stride of the features, or
            "train", a whole step of training with SGD.
        size: (height, width) of the images in pixels.
        batch_size: Number of images.
        precision: "float32", "bfloat16" or "float16".
        backend: Keras' backend.

    Raises:
        ValueError: If a value is not one of those named, or a number is below 1.
    """

    model: str = "pdanet_resnet18"
    task: str = "predict"
    size: tuple[int, int] = (304, 400)
    batch_size: int = 1
    precision: str = "float32"
    backend: str = "tensorflow"

    def __post_init__(self) -> None:
        for name, known in (
            ("task", BENCHMARK_TASKS),
            ("precision", POLICIES),
            ("backend", BACKENDS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        find_model(self.model)  # raises if there is none
        if min(*self.size, self.batch_size) < 1:
            raise ValueError(
                "Sides and batch_size must be at least 1. "
                f"Received: size={self.size}, batch_size={self.batch_size}"
            )

    @functools.cache  # noqa: B019 (a case lives as long as its process)
    def batch(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns random images, `(batch_size, *size, 3)`, and labels at 1/8."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((self.batch_size, *size, 3)).astype("float32")
        height, width = (math.ceil(side / 8) for side in size)
        return images, rng.integers(0, NUM_CLASSES, (self.batch_size, height, width), "int32")


Step = Callable[[tuple[int, int]], Any]
Prepare = Callable[[Case], Step]


def prepare_model(case: Case) -> Step:
    """Builds a model, and returns a function that takes a step on images of a given size."""
    keras.utils.set_random_seed(0)
    model = build_model(
        case.model,
        NUM_CLASSES,
        include_preprocessing=False,
        upsample=False,
        dtype=POLICIES[case.precision],
    )
    if case.task == "predict":
        return lambda size: model.predict_on_batch(case.batch(size)[0])
    model.compile(SGD(1e-2), SegmentationCrossEntropy(255))
    return lambda size: model.train_on_batch(*case.batch(size))


def prepare_product(case: Case) -> Step:
    """Returns a function that multiplies two square matrices: what the machine does best."""
    rng = np.random.default_rng(0)
    a, b = (ops.cast(rng.standard_normal((_PRODUCT, _PRODUCT)), case.precision) for _ in range(2))
    # One value is fetched: the product is waited for, but not copied.
    return lambda size: ops.convert_to_numpy(ops.cast(ops.matmul(a, b)[0, 0], "float32"))


class Runner:
    """A process of its own that takes steps of a case when it is told to.

    The process takes steps on small images first, so that what is traced, or allocated for good,
    is in place. Used as a context manager, it ends the process.

    Args:
        case: What is timed.
        prepare: Builds what takes the steps, in the new process.

    Attributes:
        memory: MiB that the first steps took at most, beyond what the process held before them.

    Raises:
        RuntimeError: If the process fails; the message names the case.
    """

    def __init__(self, case: Case, prepare: Prepare = prepare_model) -> None:
        self.case = case
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, prepare, case), daemon=True)
        with _environment(KERAS_BACKEND=case.backend):
            self._process.start()
        other_end.close()
        self.memory: float = self._receive()

    def step(self) -> float:
        """Takes a step, and returns how many seconds it took."""
        self._connection.send(None)
        return self._receive()

    def _receive(self) -> float:
        try:
            answer = self._connection.recv()
        except EOFError:
            answer = "the process has ended, perhaps for want of memory"
        if isinstance(answer, str):
            raise RuntimeError(f"{self.case}: {answer}")
        return answer

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _serve(connection: Any, prepare: Prepare, case: Case) -> None:
    """Runs in the process: tells the memory of the first steps, then the time of each."""
    try:
        step = prepare(case)
        for size in _SMALL:
            step(size)
        before = _start_of_peak()
        for _ in range(_WARM_UP_STEPS):
            step(case.size)
        connection.send(_memory("VmHWM") - before)
        while True:
            connection.recv()
            start = time.perf_counter()
            step(case.size)
            connection.send(time.perf_counter() - start)
    except (EOFError, KeyboardInterrupt):  # nobody is listening any more
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _start_of_peak() -> float:
    """Gives back memory that is not in use, and returns what is; peaks count from here."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # other C libraries lack it
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far becomes what is in use
    return _memory("VmRSS")


def _memory(key: str) -> float:
    """Returns the process's memory in MiB: VmRSS, in use now, or VmHWM, the most so far."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {key}")


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets environment variables for a while: a new process inherits them."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Result:
    """What was measured of a case.

    Attributes:
        case: The case.
        seconds: Of each round, how long the step took.
        memory: MiB that a step takes at most, beyond what the process held before.
        gflops: Billions of operations of a step, a multiply-add being two; of a step of training
            three times those of the prediction.
        peak: Billions of operations per second of a large matrix product in the same precision,
            the best of all rounds.
    """

    case: Case
    seconds: tuple[float, ...]
    memory: float
    gflops: float
    peak: float

    @property
    def latency(self) -> float:
        """Median time of a step, in seconds."""
        return statistics.median(self.seconds)

    @property
    def throughput(self) -> float:
        """Images per second."""
        return self.case.batch_size / self.latency

    @property
    def share_of_peak(self) -> float:
        """Operations per second as a share of the peak."""
        return self.gflops / self.latency / self.peak

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures under plain names, ready for JSON."""
        return {
            **asdict(self.case),
            "seconds": self.seconds,
            "latency": self.latency,
            "throughput": self.throughput,
            "memory_mib": self.memory,
            "gflops": self.gflops,
            "peak_gflops_per_second": self.peak,
            "share_of_peak": self.share_of_peak,
        }


@dataclass(frozen=True)
class Benchmark:
    """All results, and the machine that they are of."""

    results: tuple[Result, ...]
    machine: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        content = {
            "machine": self.machine,
            "results": [result.to_dict() for result in self.results],
        }
        write_atomically(Path(path), json.dumps(content, indent=2) + "\n")

    def table(self) -> Table:
        """Returns a table of the figures, to be printed by rich."""
        table = Table(title=self.machine)
        for heading in ("model", "task", "size", "batch", "precision", "backend"):
            table.add_column(heading)
        for heading in ("ms", "range", "images/s", "GFLOPs", "of peak", "memory, MiB"):
            table.add_column(heading, justify="right")
        for result in self.results:
            case = result.case
            fastest, slowest = min(result.seconds), max(result.seconds)
            table.add_row(
                case.model,
                case.task,
                "{} x {}".format(*case.size),
                str(case.batch_size),
                case.precision,
                case.backend,
                f"{1000 * result.latency:.0f}",
                f"{1000 * fastest:.0f} to {1000 * slowest:.0f}",
                f"{result.throughput:.2f}",
                f"{result.gflops:.1f}",
                f"{result.share_of_peak:.0%}",
                f"{result.memory:.0f}",
            )
        return table

    def chart(self) -> Image.Image:
        """Draws the throughput of every case as a bar."""
        names = [
            f"{case.model}, {case.task}, {case.size[0]} x {case.size[1]}, batch {case.batch_size}, "
            f"{case.precision}, {case.backend}"
            for case in (result.case for result in self.results)
        ]
        values = [result.throughput for result in self.results]
        return draw_bar_chart(names, values, self.machine, "images per second")


def run_benchmark(cases: Sequence[Case], rounds: int = 10, progress: bool = True) -> Benchmark:
    """Times cases, one step of each in every round.

    All cases are held in memory at once, each in a process of its own. Linux only.

    Args:
        cases: What is timed.
        rounds: Number of timed steps of each.
        progress: Whether to show a progress bar.

    Returns:
        The figures.

    Raises:
        ValueError: If there are no cases or no rounds.
        RuntimeError: If a case fails.

    Example:
        ```python
        cases = [Case(precision=precision) for precision in ("float32", "bfloat16")]
        rich.print(run_benchmark(cases).table())
        ```
    """
    if not cases or rounds < 1:
        raise ValueError(
            "There must be at least one case and one round. "
            f"Received: {len(cases)} cases, rounds={rounds}"
        )
    counts = _count_operations(cases)
    settings = list(dict.fromkeys((case.backend, case.precision) for case in cases))
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(Runner(case)) for case in cases]
        products = [
            stack.enter_context(Runner(Case(backend=backend, precision=precision), prepare_product))
            for backend, precision in settings
        ]
        times = take_turns([*runners, *products], rounds, progress)
    shortest = map(min, times[len(runners) :])
    peaks = {
        setting: 2e-9 * _PRODUCT**3 / best for setting, best in zip(settings, shortest, strict=True)
    }
    results = tuple(
        Result(
            runner.case,
            tuple(seconds),
            runner.memory,
            counts[runner.case.model, runner.case.size]
            * runner.case.batch_size
            * (3 if runner.case.task == "train" else 1),
            peaks[runner.case.backend, runner.case.precision],
        )
        for runner, seconds in zip(runners, times, strict=False)
    )
    return Benchmark(results, describe_machine("keras", *{case.backend for case in cases}))


def take_turns(runners: Sequence[Runner], rounds: int, progress: bool = True) -> list[list[float]]:
    """Lets every runner take a step in every round; returns the seconds by runner and round."""
    times: list[list[float]] = [[] for _ in runners]
    for _ in track(range(rounds), "Rounds", rounds, progress):
        for runner, seconds in zip(runners, times, strict=True):
            seconds.append(runner.step())
    return times


def _count_operations(cases: Sequence[Case]) -> dict[tuple[str, tuple[int, int]], float]:
    """Returns the billions of operations of each model at each size, for one image."""
    keys = sorted({(case.model, case.size) for case in cases})
    context = multiprocessing.get_context("spawn")
    # Counting takes TensorFlow, whatever this process runs on.
    with _environment(KERAS_BACKEND="tensorflow"), ProcessPoolExecutor(1, context) as pool:
        return dict(zip(keys, pool.map(_gflops, keys), strict=True))


def _gflops(key: tuple[str, tuple[int, int]]) -> float:
    name, size = key
    return count_flops(build_model(name, NUM_CLASSES, upsample=False), size) / 1e9


def describe_machine(*packages: str) -> str:
    """Returns the CPU, its cores, and the versions of Python and of the packages named."""
    cpu, file = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if file.is_file():
        lines = (line.partition(":") for line in file.read_text("utf-8").splitlines())
        cpu = next((value.strip() for key, _, value in lines if key.strip() == "model name"), cpu)
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return ", ".join([cpu, f"{os.cpu_count()} cores", *versions])
