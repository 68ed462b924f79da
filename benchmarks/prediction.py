"""Measures `pdanet-tf predict`: many images against Apache Beam, and memory for large images.

Run it from the root of the repository (extras `beam` and `tiff`, which `make .venv/beam` installs);
it writes two sections of `docs/predict.md`:

    .venv/beam/bin/python -m benchmarks.prediction [--images 300] [--output FILE]

Every measurement is a process of its own.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.pages import markdown_table, print_table, replace_section
from pdanet_tf import cli
from pdanet_tf.base.markdown import fill
from pdanet_tf.benchmark.machine import process_memory
from pdanet_tf.data.sources.synthetic import SyntheticDataset

ROOT = Path(__file__).resolve().parents[1]
MODEL = "camvid"
TILE, OVERLAP = 1024, 128
# Sides of the large images, by model.
SIDES = {MODEL: (512, 2000, 5000, 10_000), "one convolution": (512, 20_000)}
_BLOCK = 512  # side of a tile of the TIFF


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        seconds: Wall time from its start to its end.
        cpu: CPU time in seconds, of all threads.
        memory: Peak of its resident set in MiB.
    """

    seconds: float
    cpu: float
    memory: float


def measure(*arguments: str | Path) -> Usage:
    """Runs this program with hidden arguments, and returns what the process took.

    Raises:
        RuntimeError: If it fails.
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.prediction", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode:
        given = " ".join(map(str, arguments))
        raise RuntimeError(f"{given} failed:\n{done.stdout}{done.stderr}")
    cpu = sum(after[2:4]) - sum(before[2:4])  # of the processes that have ended
    return Usage(seconds, cpu, float(done.stdout.splitlines()[-1]))


def write_images(folder: Path, count: int) -> None:
    """Writes drawn scenes of 144 x 192 pixels as JPEG, in folders of a hundred."""
    scenes = SyntheticDataset("train")
    for index in range(count):
        path = folder / str(index // 100) / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels, _ = scenes.read(index % len(scenes))
        Image.fromarray(np.asarray(pixels, "uint8")).save(path)


def records(manifest: Path) -> list[dict[str, Any]]:
    """Returns the records of a manifest without their times, by file."""
    found = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for record in found:
        del record["seconds"]
    return sorted(found, key=lambda record: str(record["file"]))


def is_equal(one: Path, other: Path) -> bool:
    """Returns whether two folders have the same records and the same label maps in every byte."""
    files = [sorted(each.relative_to(f) for each in f.rglob("*.png")) for f in (one, other)]
    return (
        records(one / "manifest.jsonl") == records(other / "manifest.jsonl")
        and files[0] == files[1]
        and all((one / file).read_bytes() == (other / file).read_bytes() for file in files[0])
    )


def run_beam(images: Path, output: Path) -> None:
    """Segments the images of a folder on Beam's direct runner, in this process."""
    import apache_beam as beam

    from pdanet_tf.inference.beam import SegmentImages

    paths = sorted(str(path) for path in images.rglob("*.jpg"))
    with beam.Pipeline("FnApiRunner") as pipeline:
        (
            pipeline
            | beam.Create(paths)
            | SegmentImages(MODEL, output, root=images)
            | beam.Map(json.dumps)
            | beam.io.WriteToText(str(output / "manifest"), ".jsonl", shard_name_template="")
        )


def compare_with_beam(root: Path, count: int) -> tuple[list[str], list[list[str]], bool]:
    """Segments a folder with both commands.

    Args:
        root: An empty folder.
        count: Number of images.

    Returns:
        The headings and the rows of the table, and whether the results are equal.
    """
    commands: dict[str, list[str | Path]] = {
        "`pdanet-tf predict`": ["--predict", "--no-overlay", "--model", MODEL, "--output"],
        "Beam, direct runner": ["--beam"],
    }
    sizes = (1, count)
    for size in sizes:
        write_images(root / f"images-{size}", size)
    rows, outputs = [], []
    for number, (name, command) in enumerate(commands.items()):
        taken = []
        for size in sizes:
            output = root / f"output-{number}-{size}"
            taken.append(measure(*command, output, root / f"images-{size}"))
        outputs.append(output)
        start, whole = taken
        rows.append(
            [
                name,
                f"{start.seconds:.1f}",
                f"{whole.seconds:.1f}",
                f"{count / whole.seconds:.1f}",
                _rate(count - 1, whole.seconds - start.seconds),
                _rate(count - 1, whole.cpu - start.cpu),
            ]
        )
    headings = [
        "command",
        "1 image, s",
        f"{count} images, s",
        "images per s",
        "without start-up",
        "per s of CPU time",
    ]
    return headings, rows, is_equal(*outputs)


def _rate(count: int, seconds: float) -> str:
    """Returns how many images take a second; "-" if there are too few to tell from the start-up."""
    return f"{count / seconds:.1f}" if seconds > 0 else "-"


def write_tiff(file: Path, side: int) -> None:
    """Writes a square image of waves as a tiled TIFF, without having it in memory."""
    import tifffile

    y, x = np.mgrid[:_BLOCK, :_BLOCK]
    waves = [np.sin(x / (5 + 3 * k)) + np.cos(y / (4 + 2 * k)) for k in range(3)]
    tile = np.uint8(127 + 60 * np.stack(waves, -1))
    count = -(-side // _BLOCK)
    tifffile.imwrite(
        file,
        itertools.repeat(tile, count * count),
        shape=(side, side, 3),
        dtype="uint8",
        tile=(_BLOCK, _BLOCK),
        photometric="rgb",
        bigtiff=True,
    )


def _save_small_model(file: Path) -> None:
    """Saves a convolution of stride 8 to three classes."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(3, 8, strides=8, padding="same", name="logits")(x)
    keras.Model(inputs, x).save(file)


def measure_tiles(
    root: Path, sides: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, int, Usage]]:
    """Yields the model, the side of the image and what `pdanet-tf predict --tile` took.

    Args:
        root: An empty folder.
        sides: The sides of the images, by model.
    """
    _save_small_model(root / "small.keras")
    file = root / "image.tif"
    for model, values in sides.items():
        for side in values:
            write_tiff(file, side)
            given: str | Path = MODEL if model == MODEL else root / "small.keras"
            tiles = ["--tile", str(TILE), "--overlap", str(OVERLAP)]
            output = root / f"{model}-{side}"
            command = ("--predict", file, "--model", given, "--output", output, *tiles)
            yield model, side, measure(*command)


def count_windows(side: int) -> int:
    """Returns the number of windows of a square image."""
    step = TILE - OVERLAP
    return (max(0, -(-(side - TILE) // step)) + 1) ** 2


def _tile_section(
    found: Sequence[tuple[str, int, Usage]],
) -> tuple[list[str], list[list[str]], str]:
    """Returns the headings and the rows of the table, and what it says of larger images."""
    headings = ["model", "image", "windows", "peak memory", "wall time", "CPU time"]
    rows = [
        [
            f"`{model}`" if model == MODEL else model,
            f"{side:,} x {side:,}",
            str(count_windows(side)),
            f"{usage.memory:.0f} MiB",
            f"{usage.seconds:.0f} s",
            f"{usage.cpu:.0f} s",
        ]
        for model, side, usage in found
    ]
    real = {side: usage for model, side, usage in found if model == MODEL}
    (small, start), *_, (large, whole) = sorted(real.items())
    each = (whole.seconds - start.seconds) / (count_windows(large) - count_windows(small))
    minutes = count_windows(20_000) * each / 60
    text = (
        f"`{MODEL}` takes {each:.2f} s for each window: {minutes:.0f} minutes for 20,000 x 20,000 "
        f"pixels ({count_windows(20_000)} windows). The other model is a convolution of stride 8 "
        "to 3 classes."
    )
    return headings, rows, text


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both; returns 1 if the results of Beam differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300, help="number of images in the folder")
    parser.add_argument("--output", type=Path, help="page to write to: docs/predict.md")
    parser.add_argument("--beam", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--predict", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.images < 2:
        parser.error("--images must be at least 2")
    if options.predict is not None or options.beam is not None:
        status = 0
        if options.predict is not None:
            status = cli.main(["predict", *options.predict])
        else:
            output, images = options.beam
            run_beam(images, output)
        print(process_memory("VmHWM"))
        return status
    for package, extra in (("apache_beam", "beam"), ("tifffile", "tiff")):
        if importlib.util.find_spec(package) is None:
            parser.error(f"{package} is not installed: pip install 'pdanet_tf[{extra}]'")
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        headings, rows, are_equal = compare_with_beam(root, options.images)
        print_table(console, headings, rows)
        outcome = "were equal" if are_equal else "differed"
        console.print(f"Manifests and label maps {outcome}.")
        found = []
        for model, side, usage in measure_tiles(root, SIDES):
            text = f"{model}, {side} x {side}: {usage.memory:.0f} MiB, {usage.seconds:.0f} s"
            console.print(text, highlight=False)
            found.append((model, side, usage))
    tile_headings, tile_rows, tile_text = _tile_section(found)
    print_table(console, tile_headings, tile_rows)
    if options.output is not None:
        note = (
            "Written by `python -m benchmarks.prediction --output docs/predict.md`; do not edit. "
            f"A machine with {os.cpu_count()} CPU cores."
        )
        both = (
            f"{note} `predict --no-overlay` and Beam's direct runner (`FnApiRunner`, in one "
            f"process) on {options.images} JPEGs of 144 x 192 pixels, model `{MODEL}`. The times "
            "are those of the whole command, from its start to its end; the rates without start-up "
            "are from the difference between both runs. Manifests (but for `seconds`) and label "
            f"maps {outcome}:"
        )
        memory = (
            f"{note} Peak of the resident set, wall time and CPU time of the whole command, from a "
            f"TIFF of {_BLOCK} x {_BLOCK} tiles, with `--tile {TILE} --overlap {OVERLAP}`:"
        )
        tables = {
            "beam": [fill(both), markdown_table(headings, rows)],
            "tiles": [
                fill(memory),
                markdown_table(tile_headings, tile_rows),
                fill(tile_text),
            ],
        }
        for name, paragraphs in tables.items():
            replace_section(options.output, name, "\n\n".join(paragraphs))
    return int(not are_equal)


if __name__ == "__main__":
    sys.exit(main())
