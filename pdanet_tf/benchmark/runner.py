"""Timing of models: each case runs in a process of its own, and the processes take turns.

Machines are noisy, and a model affects the next one in the same process through caches and
allocators. So each case has its own process, each round runs all cases, and the figures are medians
over the rounds.
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

_SMALL = ((64, 64), (72, 80))  # two sizes, because the second one traces a graph for all sizes
_WARM_UP_STEPS = 2  # besides those on small images
_PRODUCT = 2048  # rows and columns of the matrices whose product measures the machine's peak
Step = Callable[[tuple[int, int]], Any]
Prepare = Callable[[Case], Step]


def prepare_model(case: Case) -> Step:
    """Builds a model, and returns a function that runs one step on images of a given size."""
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
    """Returns a function that multiplies two square matrices, which measures the peak speed."""
    rng = np.random.default_rng(0)
    shape = (_PRODUCT, _PRODUCT)
    a, b = (ops.cast(rng.standard_normal(shape), case.compute_dtype) for _ in range(2))
    # Fetching one value waits for the product without copying it.
    return lambda size: ops.convert_to_numpy(ops.cast(ops.matmul(a, b)[0, 0], "float32"))


class Runner:
    """A process that runs the steps of a case, one at each call of `step`.

    The process first runs steps on small images, so that graphs are traced and permanent memory is
    allocated before the measurement. As a context manager, the runner ends the process.

    Args:
        case: The case to time.
        prepare: A function that the new process calls with the case; it returns the step.
        imports: Names of modules that the new process imports first.

    Attributes:
        memory: Peak memory of the first steps in MiB, beyond what the process used before them.

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
        """Runs one step, and returns its time in seconds."""
        self._connection.send(None)
        return self._receive()

    def _receive(self) -> float:
        try:
            answer = self._connection.recv()
        except EOFError:
            answer = "the process has ended, perhaps because the memory was full"
        if isinstance(answer, str):
            raise RuntimeError(f"{self.case}: {answer}")
        return answer

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _serve(connection: Any, prepare: Prepare, case: Case, imports: Sequence[str]) -> None:
    """Runs in the process: sends the memory of the first steps, then the time of each step."""
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
    except (EOFError, KeyboardInterrupt):  # the parent has closed the connection
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
    """Times cases; each round runs one step of each.

    All cases are in memory at the same time, each in a process of its own. It requires Linux.

    Args:
        cases: The cases to time.
        rounds: Number of timed steps of each case.
        progress: Whether to show a progress bar.
        imports: Names of the modules that register models which are not pdanet_tf's own; each
            process imports them.

    Returns:
        The results, in the order of the cases.

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
    """Runs one step of each runner in each round; returns the seconds by runner and round."""
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
    # Counting requires TensorFlow, whatever backend this process uses.
    with (
        environment(KERAS_BACKEND="tensorflow"),
        ProcessPoolExecutor(1, context, _import_modules, (imports,)) as pool,
    ):
        return dict(zip(keys, pool.map(_gflops, keys), strict=True))


def _gflops(key: tuple[str, tuple[int, int]]) -> float:
    name, size = key
    return count_flops(build_model(name, NUM_CLASSES, upsample=False), size) / 1e9
