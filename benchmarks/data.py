"""Compares the input pipelines with a plain Pillow + NumPy loader, on 1 and 2 cores.

Run it from the root of the repository, on Linux. Without `--data-dir` it first draws a stand-in for
ADE20K:

    python -m benchmarks.data [--images 400] [--data-dir ADEChallengeData2016] [--output FILE]
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import track

import pdanet_tf
from benchmarks import plain_loader
from benchmarks.pages import markdown_table, page, print_table
from pdanet_tf.benchmark.machine import describe_machine, process_memory
from pdanet_tf.data import load_dataset, write_stand_in
from pdanet_tf.data.batches.pipeline import crop_batches, paper_batches
from pdanet_tf.files import write_atomically
from pdanet_tf.layers import pixel_mean
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.optimizers import SGD

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "data.md"
MODEL = "pdanet_resnet18"
RECIPES = ("crop", "paper")
CORES = (1, 2)
BATCH_SIZE = 8
TRAINING_BATCH_SIZE = 4  # 4 GiB of memory suffice
CROP_SIZE = (512, 512)
SHORT_EDGES = (300, 375, 450, 525, 600)
MAX_SIZE = 1000
WARM_UP_STEPS = 3
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """A measurement in a process of its own.

    Attributes:
        root: Folder of the data set.
        recipe: "crop" or "paper".
        loader: "pipeline" or "plain".
        cores: Number of cores that the process may use.
        batches: Number of timed batches, after the first.
        seed: Random seed.
    """

    root: Path
    recipe: str
    loader: str
    cores: int
    batches: int
    seed: int


@dataclass(frozen=True)
class Load:
    """The result of a measurement.

    Attributes:
        first: Seconds to the first batch.
        rate: Images per second, after the first batch.
        cpu: CPU seconds per image, summed over the cores; other work on the machine hardly
            changes it.
        memory: Peak memory above that in use before the first batch, in MiB.
    """

    first: float
    rate: float
    cpu: float
    memory: float


def open_plain(root: Path, recipe: str, batch_size: int, seed: int) -> Iterator[Any]:
    """Returns an endless stream of batches of images and labels from the plain loader."""
    pad_color = pixel_mean("torch")
    if recipe == "crop":
        return plain_loader.crop_batches(root, batch_size, CROP_SIZE, pad_color, seed)
    return plain_loader.paper_batches(root, batch_size, SHORT_EDGES, MAX_SIZE, pad_color, seed)


def open_pipeline(root: Path, recipe: str, batch_size: int, seed: int) -> Iterator[Any]:
    """Returns an endless stream of batches of images and labels from the package's pipeline."""
    dataset = load_dataset("ade20k", "train", root)
    pad_color = pixel_mean("torch")
    if recipe == "crop":
        return iter(crop_batches(dataset, batch_size, CROP_SIZE, pad_color=pad_color, seed=seed))
    return iter(
        paper_batches(
            dataset,
            batch_size,
            short_edges=SHORT_EDGES,
            max_size=MAX_SIZE,
            pad_color=pad_color,
            seed=seed,
        )
    )


LOADERS = {"pipeline": open_pipeline, "plain": open_plain}


def measure(job: Job) -> Load:
    """Measures a loader, in a process of its own."""
    before = process_memory("VmRSS")
    start = time.perf_counter()
    batches = LOADERS[job.loader](job.root, job.recipe, BATCH_SIZE, job.seed)
    next(batches)
    first = time.perf_counter() - start
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(job.batches):
        next(batches)
    images = job.batches * BATCH_SIZE
    return Load(
        first,
        images / (time.perf_counter() - start),
        (time.process_time() - cpu_start) / images,
        process_memory("VmHWM") - before,
    )


@dataclass(frozen=True)
class Step:
    """Seconds of one step of training: waiting for the batch, and computing."""

    wait: float
    compute: float


def train_steps(root: Path, recipe: str, steps: int) -> list[Step]:
    """Trains PDANet and times each step, except for the first few, which trace the graph."""
    tf.config.set_visible_devices([], "GPU")
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model(MODEL, upsample=False)
    model.compile(SGD(1e-2), SegmentationCrossEntropy(255), jit_compile=False)
    batches = open_pipeline(root, recipe, TRAINING_BATCH_SIZE, seed=0)
    times = []
    for _ in range(WARM_UP_STEPS + steps):
        start = time.perf_counter()
        images, labels = next(batches)
        waited = time.perf_counter()
        model.train_on_batch(images, labels)
        times.append(Step(waited - start, time.perf_counter() - waited))
    return times[WARM_UP_STEPS:]


def run_apart(function: Callable[..., Result], *arguments: Any, cores: int) -> Result:
    """Calls a function in a new process that can use only the given number of cores."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])  # the process inherits it
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.sched_setaffinity(0, available)


Loads = dict[tuple[str, int, str], list[Load]]  # by recipe, cores and loader


def measure_loads(
    root: Path, cores: Sequence[int], batches: int, rounds: int, console: Console
) -> Loads:
    """Measures all loaders in turns, `rounds` times."""
    loads: Loads = {}
    jobs = [
        Job(root, recipe, loader, count, batches, seed)
        for seed in range(rounds)
        for recipe in RECIPES
        for count in cores
        for loader in LOADERS
    ]
    for job in track(jobs, "Loaders", console=console):
        load = run_apart(measure, job, cores=job.cores)
        loads.setdefault((job.recipe, job.cores, job.loader), []).append(load)
    return loads


HEADINGS = (
    "recipe",
    "cores",
    "loader",
    "images/s",
    "times plain",
    "range",
    "CPU per image, ms",
    "first batch, s",
    "memory, MiB",
)


def load_rows(loads: Loads) -> Iterator[list[str]]:
    """Yields the cells of the table of loaders."""
    for (recipe, cores, loader), found in loads.items():
        plain = loads[recipe, cores, "plain"]
        ratios = [own.rate / other.rate for own, other in zip(found, plain, strict=True)]
        yield [
            recipe,
            str(cores),
            loader,
            f"{statistics.median(load.rate for load in found):.0f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{1000 * statistics.median(load.cpu for load in found):.1f}",
            f"{statistics.median(load.first for load in found):.2f}",
            f"{statistics.median(load.memory for load in found):.0f}",
        ]


STEP_HEADINGS = ("recipe", "steps", "waiting per step", "computing per step", "share of waiting")


def step_rows(steps: dict[str, list[Step]]) -> Iterator[list[str]]:
    """Yields the cells of the table of steps of training."""
    for recipe, times in steps.items():
        wait = sum(step.wait for step in times)
        compute = sum(step.compute for step in times)
        yield [
            recipe,
            str(len(times)),
            f"{1000 * wait / len(times):.1f} ms",
            f"{compute / len(times):.2f} s",
            f"{wait / (wait + compute):.2%}",
        ]


def render(
    loads: Sequence[Sequence[str]],
    steps: Sequence[Sequence[str]],
    options: argparse.Namespace,
    source: str,
) -> str:
    """Returns the page in Markdown: both tables and their explanation."""
    height, width = CROP_SIZE
    paragraphs = [
        "Written by `python -m benchmarks.data`; do not edit. Both recipes, in batches of "
        f"{BATCH_SIZE}, read {source}. `crop`: crops of {height} x {width} at a random scale of "
        "0.5 to 2, randomly flipped, with colour jitter. `paper`: batches of one orientation with "
        f"a short edge of {', '.join(map(str, SHORT_EDGES))} and a long edge of up to {MAX_SIZE}, "
        "randomly flipped and padded to a multiple of 8. Labels have 1/8 of the resolution.",
        "## Loading",
        markdown_table(HEADINGS, loads),
        "**pipeline** is `pdanet_tf.data.batches.pipeline`. **plain** is a loader in Pillow and "
        "NumPy that does the same work sample by sample in one thread "
        "(`benchmarks/plain_loader.py`). Each row was measured in a process of its own that could "
        "use 1 or 2 cores; pipeline and plain loader took turns in "
        f"{options.rounds} rounds of {options.batches} batches. All figures are medians of the "
        "rounds. **Times plain** is the ratio of the two rates within a round. **CPU** is summed "
        "over the cores; it hardly depends on other work on the machine. **First batch** includes "
        "opening the data set; `paper` also reads the sizes of all images. **Memory** is the peak "
        "above what the process uses after all imports. The files are in the system's cache.",
        "## Training",
        markdown_table(STEP_HEADINGS, steps),
        f"Training steps of `{MODEL}` in float32 with batches of {TRAINING_BATCH_SIZE} on the CPU, "
        "while the pipeline prepares the next batches on the same cores. The first "
        f"{WARM_UP_STEPS} steps trace the graph and are not counted. Waiting is the time between "
        "the request for a batch and its arrival.",
        f"Measured on {describe_machine('tensorflow', 'keras', 'numpy', 'pillow')}.",
    ]
    return page("Feeding images", *paragraphs)


def main() -> None:
    """Measures, prints both tables and writes them."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=400, help="images to draw")
    parser.add_argument("--data-dir", type=Path, help="an extracted ADEChallengeData2016 instead")
    parser.add_argument("--batches", type=int, default=40, help="batches per round")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each loader")
    parser.add_argument("--steps", type=int, default=5, help="steps of training")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file")
    options = parser.parse_args()
    if min(options.images, options.batches, options.rounds, options.steps) < 1:
        parser.error("numbers must be at least 1")
    if not hasattr(os, "sched_setaffinity"):
        parser.error("restricting a process to some of the cores requires Linux")
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        if options.data_dir:
            root, source = options.data_dir, "ADE20K's training images"
        else:
            root = write_stand_in(Path(folder) / "stand_in", options.images, 1)
            source = (
                f"{options.images} drawn images of ADE20K's sizes (`pdanet_tf.data.write_stand_in`)"
            )
        available = len(os.sched_getaffinity(0))
        cores = [count for count in CORES if count <= available]
        loads = list(
            load_rows(measure_loads(root, cores, options.batches, options.rounds, console))
        )
        print_table(console, HEADINGS, loads)
        steps = {
            recipe: run_apart(train_steps, root, recipe, options.steps, cores=available)
            for recipe in track(RECIPES, "Training", console=console)
        }
    rows = list(step_rows(steps))
    print_table(console, STEP_HEADINGS, rows)
    write_atomically(options.output, render(loads, rows, options, source))
    console.print(f"Both tables are in {options.output}")


if __name__ == "__main__":
    main()
