"""Compares the runtimes that a model can be exported to: time, size, agreement, mean IoU.

Run it from the root of the repository, with the extras `onnx`, `openvino` and `litert`:

    python -m benchmarks.runtimes --data-dir CAMVID [--rounds 9] [--images 101] [--output FILE]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from rich.console import Console
from rich.progress import track

import pdanet_tf
from benchmarks.pages import markdown_table, page, print_table
from pdanet_tf.benchmark.machine import describe_machine
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.readers import resize_image
from pdanet_tf.files import write_atomically
from pdanet_tf.inference.settings import load_model
from pdanet_tf.metrics import Scores
from pdanet_tf.models import with_dtype_policy
from pdanet_tf.runtimes.litert import open_litert
from pdanet_tf.runtimes.onnx import open_onnx
from pdanet_tf.runtimes.openvino import open_openvino

MODEL = "camvid"
SIZES = ((304, 400), (512, 512), (608, 800))
OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "runtimes.md"
HEADINGS = (
    "runtime",
    "precision",
    "MB",
    "export, s",
    *(f"{height} x {width}, ms" for height, width in SIZES),
    "agreement",
    "mean IoU",
    "cannot",
)
Run = Callable[[np.ndarray], dict[str, np.ndarray]]
Segment = Callable[[np.ndarray], np.ndarray]  # an image (height, width, 3) to labels


@dataclass(frozen=True)
class Variant:
    """A runtime with a precision.

    Attributes:
        runtime: Name of the runtime.
        precision: Its precision.
        megabytes: Size of its files.
        seconds: Time of the export.
        cannot: What it cannot do.
        open: Returns a function for images of one size.
    """

    runtime: str
    precision: str
    megabytes: float
    seconds: float
    cannot: str
    open: Callable[[tuple[int, int]], Segment]


def keras_variant(precision: str) -> Variant:
    """Returns `Predictor`, without another runtime."""
    start = time.perf_counter()
    model, settings = load_model(MODEL)
    model = model if precision == "float32" else with_dtype_policy(model, precision)
    protocol = None if settings is None else settings.protocol
    predictor = pdanet_tf.Predictor(model, protocol)
    size = sum(np.asarray(variable).nbytes for variable in model.variables) / 1e6
    seconds = time.perf_counter() - start
    return Variant("TensorFlow", precision, size, seconds, "", lambda _: predictor.label_map)


def exported_variants(folder: Path, calibration: Path, evaluated: tuple[int, int]) -> list[Variant]:
    """Exports the model to every other format, and returns the runtimes that run it."""
    variants = []
    seconds, path = timed_export(folder / "onnx", "onnx")
    run_onnx = open_onnx((path / "model.onnx").read_bytes())
    variants.append(
        Variant(
            "ONNX Runtime",
            "float32",
            megabytes(path),
            seconds,
            "bfloat16; int8; windows",
            any_size(run_onnx),
        )
    )
    for precision in ("float32", "bfloat16", "int8"):
        if precision != "bfloat16":  # which has the file of float32
            images = calibration if precision == "int8" else None
            seconds, path = timed_export(folder / f"openvino_{precision}", "openvino", images)
        computed = "bfloat16" if precision == "bfloat16" else "float32"
        run = open_openvino(path / "model.xml", computed)
        variants.append(
            Variant(
                "OpenVINO",
                precision,
                megabytes(path),
                seconds,
                "windows",
                any_size(run),
            )
        )
    for precision in ("float32", "int8"):
        images = calibration if precision == "int8" else None
        runs = {}
        for size in {*SIZES, evaluated}:
            name = f"litert_{precision}_{size[0]}_{size[1]}"
            seconds, path = timed_export(folder / name, "litert", images, size)
            run = open_litert((path / "model.tflite").read_bytes(), os.cpu_count() or 1)
            runs[size] = first_labels(run)
        variants.append(
            Variant(
                "LiteRT",
                precision,
                megabytes(path),
                seconds,
                "images of other sizes; batches; bfloat16; windows",
                runs.__getitem__,
            )
        )
    return variants


def timed_export(
    folder: Path,
    kind: str,
    calibration: Path | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[float, Path]:
    """Exports the model, and returns the seconds and the folder."""
    start = time.perf_counter()
    path = pdanet_tf.export(MODEL, folder, kind, size=size, calibration=calibration)
    return time.perf_counter() - start, path


def megabytes(folder: Path) -> float:
    """Returns the size of the files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def any_size(run: Run) -> Callable[[tuple[int, int]], Segment]:
    """Returns a function that returns the same function for every size."""
    segment = first_labels(run)
    return lambda _: segment


def first_labels(run: Run) -> Segment:
    """Returns a function of one image instead of a batch."""
    return lambda image: run(image[None])["labels"][0]


def latencies(
    variants: Sequence[Variant], size: tuple[int, int], image: np.ndarray, rounds: int
) -> list[float]:
    """Returns the median milliseconds of each variant, which take turns."""
    functions = [variant.open(size) for variant in variants]
    image = resize_image(image, size)
    for segment in functions:
        segment(image)
    times: list[list[float]] = [[] for _ in variants]
    for _ in range(rounds):
        for segment, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            segment(image)
            own.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(own) for own in times]


def scores(
    variants: Sequence[Variant], dataset: SegmentationDataset, count: int
) -> list[tuple[float, float]]:
    """Returns the share of pixels on which a variant agrees with the first one, and its mean IoU.

    Args:
        variants: The variants.
        dataset: Images of one size with annotations.
        count: Number of images.
    """
    classes = dataset.num_classes
    counts = np.zeros((len(variants), classes, classes), "int64")
    equal, pixels = np.zeros(len(variants)), 0
    count = min(count, len(dataset))
    for index in track([step * len(dataset) // count for step in range(count)], "Mean IoU"):
        image, label = dataset.read(index)
        known = label < classes
        pixels += label.size
        size = (image.shape[0], image.shape[1])
        found = [variant.open(size)(image).astype("int64") for variant in variants]
        for row, labels in enumerate(found):
            equal[row] += (labels == found[0]).sum()
            cells = classes * label[known].astype("int64") + labels[known]
            counts[row] += np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    means = [Scores.from_confusion(matrix).mean_iou for matrix in counts]
    return list(zip(equal / pixels, means, strict=True))


def main() -> None:
    """Measures every runtime, then prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data-dir", required=True, help="folder of CamVid")
    parser.add_argument("--rounds", type=int, default=9, help="counted calls of each runtime")
    parser.add_argument("--images", type=int, default=101, help="validation images to score")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file")
    options = parser.parse_args()
    dataset = pdanet_tf.load_dataset("camvid", "validation", options.data_dir)
    image, _ = dataset.read(0)
    with tempfile.TemporaryDirectory() as folder:
        variants = [keras_variant("float32"), keras_variant("bfloat16")]
        calibration = Path(options.data_dir) / "images" / "train"
        variants += exported_variants(Path(folder), calibration, image.shape[:2])
        times = [latencies(variants, size, image, options.rounds) for size in SIZES]
        results = scores(variants, dataset, options.images)
    rows = [
        [
            variant.runtime,
            variant.precision,
            f"{variant.megabytes:.1f}",
            f"{variant.seconds:.0f}" if variant.runtime != "TensorFlow" else "",
            *(f"{column[index]:.0f}" for column in times),
            f"{100 * agreement:.2f}%",
            f"{iou:.3f}",
            variant.cannot,
        ]
        for index, (variant, (agreement, iou)) in enumerate(zip(variants, results, strict=True))
    ]
    console = Console()
    print_table(console, HEADINGS, rows)
    write_atomically(options.output, text_of_page(rows, options.rounds, options.images))
    console.print(f"The table is in {options.output}")


def text_of_page(rows: Sequence[Sequence[str]], rounds: int, images: int) -> str:
    """Returns the page with the table."""
    return page(
        "Runtimes",
        "Written by `python -m benchmarks.runtimes`; do not edit. A trained model can leave "
        "TensorFlow in two ways.",
        "`pdanet_tf.export(model, folder, format)`, or `pdanet-tf export --format`, writes a "
        "folder with everything between an image and its label map: `model.onnx` (extra `onnx`), "
        "`model.xml` and `model.bin` for OpenVINO (extra `openvino`), or `model.tflite` for "
        "LiteRT. They take `image`, `(batch, height, width, channels)`, uint8, and return `labels` "
        "and `confidence` (the winning probability times 255) at the size of the image. ONNX and "
        "OpenVINO take images of any size; LiteRT requires `--size HEIGHT WIDTH`. The sizes and "
        "mirror images of the protocol are in the file; sliding windows and the CRF are not. "
        "`inference.json` beside the file holds the classes and their colours. Logits of the whole "
        "image are in memory at once: pixels x classes x 4 bytes.",
        '`pdanet_tf.Predictor(model, runtime="onnxruntime")`, or `pdanet-tf predict --runtime '
        "openvino`, runs only the network in another runtime; the whole protocol, windows and the "
        "CRF stay the same. The network is converted each time a predictor is made.",
        f"The table is of `{MODEL}`, a PDANet with ResNet18 and half the channels, from an image "
        "to its labels. Agreement is the share of pixels of CamVid's validation images with the "
        f"label that TensorFlow finds in float32; mean IoU is that of {images} of these images. "
        "The megabytes of TensorFlow are those of the variables. The export's seconds include "
        "loading the model and, for int8, the calibration with 50 training images.",
        markdown_table(HEADINGS, rows),
        "For int8, `--int8 FOLDER` takes images like those that will be segmented. NNCF quantises "
        "the convolutions for OpenVINO: with all other operations, too, the mean IoU on 25 images "
        "fell from 0.739 to 0.315. LiteRT's converter quantises what has an int8 kernel. Measure "
        "the mean IoU of your own model before you use int8.",
        "OpenVINO's converter and NNCF send usage statistics to their makers unless the command "
        "`opt_in_out --opt_out`, which comes with them, has been run.",
        f"Milliseconds are medians of {rounds} calls; the runtimes take turns in one process. "
        f"Measured on {describe_machine('tensorflow', 'onnxruntime', 'openvino', 'ai-edge-litert')}"
        ".",
    )


if __name__ == "__main__":
    main()
