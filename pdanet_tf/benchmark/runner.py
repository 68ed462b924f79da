"""How fast models are: every case in a process of its own, all of them taking turns.

Machines are noisy, and what one model does to caches and allocators is felt by the next. So each
case has its own process, rounds go over all cases, and figures are medians of the rounds.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.base.progress import track
from pdanet_tf.benchmark.cases import NUM_CLASSES, Case
from pdanet_tf.benchmark.flops import count_flops
from pdanet_tf.benchmark.machine import describe_machine, environment, process_memory, start_of_peak
from pdanet_tf.benchmark.report import Benchmark, Result
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.models import build_model
from pdanet_tf.optimizers import SGD

_SMALL = ((64, 64), (72, 80))  # of two sizes: a graph for all sizes is traced at the second
_WARM_UP_STEPS = 2  # beside those on small images
_PRODUCT = 2048  # rows and columns of the matrices that tell the machine's peak
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
        dtype=case.precision,
    )
    if case.task == "predict":
        return lambda size: model.predict_on_batch(case.batch(size)[0])
    model.compile(SGD(1e-2), SegmentationCrossEntropy(255))
    return lambda size: model.train_on_batch(*case.batch(size))


def prepare_product(case: Case) -> Step:
    """Returns a function that multiplies two square matrices: what the machine does best."""
    rng = np.random.default_rng(0)
    shape = (_PRODUCT, _PRODUCT)
    a, b = (ops.cast(rng.standard_normal(shape), case.compute_dtype) for _ in range(2))
    # One value is fetched: the product is waited for, but not copied.
    return lambda size: ops.convert_to_numpy(ops.cast(ops.matmul(a, b)[0, 0], "float32"))


class Runner:
    """A process of its own that takes steps of a case when it is told to.

    The process takes steps on small images first, so that what is traced, or allocated for good,
    is in place. Used as a context manager, it ends the process.

    Args:
        case: What is timed.
        prepare: Builds what takes the steps, in the new process.
        imports: Names of modules that the new process imports first.

    Attributes:
        memory: MiB that the first steps took at most, beyond what the process held before them.

    Raises:
        RuntimeError: If the process fails; the message names the case.
    """

    def __init__(
        self, case: Case, prepare: Prepare = prepare_model, imports: Sequence[str] = ()
    ) -> None:
        self.case = case
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        given = (other_end, prepare, case, imports)
        self._process = context.Process(target=_serve, args=given, daemon=True)
        with environment(KERAS_BACKEND=case.backend):
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


def _serve(connection: Any, prepare: Prepare, case: Case, imports: Sequence[str]) -> None:
    """Runs in the process: tells the memory of the first steps, then the time of each."""
    try:
        _import_modules(imports)
        step = prepare(case)
        for size in _SMALL:
            step(size)
        before = start_of_peak()
        for _ in range(_WARM_UP_STEPS):
            step(case.size)
        connection.send(process_memory("VmHWM") - before)
        while True:
            connection.recv()
            start = time.perf_counter()
            step(case.size)
            connection.send(time.perf_counter() - start)
    except (EOFError, KeyboardInterrupt):  # nobody is listening any more
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _import_modules(names: Sequence[str]) -> None:
    for name in names:
        import_module(name)


def run_benchmark(
    cases: Sequence[Case],
    rounds: int = 10,
    progress: bool = True,
    imports: Sequence[str] = (),
) -> Benchmark:
    """Times cases, one step of each in every round.

    All cases are held in memory at once, each in a process of its own. Linux only.

    Args:
        cases: What is timed.
        rounds: Number of timed steps of each.
        progress: Whether to show a progress bar.
        imports: Names of the modules that register models which are not pdanet_tf's own; each
            process imports them.

    Returns:
        The figures.

    Raises:
        ValueError: If there are no cases or no rounds.
        RuntimeError: If a case fails.

    Example:
        ```python
        cases = [Case(precision=precision) for precision in ("float32", "mixed_bfloat16")]
        rich.print(run_benchmark(cases).table())
        ```
    """
    if not cases or rounds < 1:
        raise ValueError(
            "There must be at least one case and one round. "
            f"Received: {len(cases)} cases, rounds={rounds}"
        )
    counts = _count_operations(cases, imports)
    settings = list(dict.fromkeys((case.backend, case.compute_dtype) for case in cases))
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(Runner(case, imports=imports)) for case in cases]
        products = [
            stack.enter_context(Runner(Case(backend=backend, precision=dtype), prepare_product))
            for backend, dtype in settings
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
            peaks[runner.case.backend, runner.case.compute_dtype],
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


def _count_operations(
    cases: Sequence[Case], imports: Sequence[str]
) -> dict[tuple[str, tuple[int, int]], float]:
    """Returns the billions of operations of each model at each size, for one image."""
    keys = sorted({(case.model, case.size) for case in cases})
    context = multiprocessing.get_context("spawn")
    # Counting takes TensorFlow, whatever this process runs on.
    with (
        environment(KERAS_BACKEND="tensorflow"),
        ProcessPoolExecutor(1, context, _import_modules, (imports,)) as pool,
    ):
        return dict(zip(keys, pool.map(_gflops, keys), strict=True))


def _gflops(key: tuple[str, tuple[int, int]]) -> float:
    name, size = key
    return count_flops(build_model(name, NUM_CLASSES, upsample=False), size) / 1e9
