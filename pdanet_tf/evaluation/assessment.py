"""The figures of the report of an evaluation, and its worst images."""

import dataclasses
import heapq
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.evaluation.boundary import boundary_counts
from pdanet_tf.evaluation.calibration import Calibration
from pdanet_tf.evaluation.comparison import Comparison
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.files import write_atomically
from pdanet_tf.inference.display import to_rgb
from pdanet_tf.inference.overlay import colorize
from pdanet_tf.metrics import Scores

_WORST = 12  # images that are kept
_EDGE = 320  # long edge of their copies in pixels


@dataclass(frozen=True)
class WorstImage:
    """An image with a low score, and what was predicted.

    Attributes:
        name: Name of the image in the data set.
        mean_iou: Mean IoU over the classes that occur in its label map or in the prediction.
        image: The image, RGB, at most 320 pixels long.
        label: The label map in the class colours, likewise; unlabelled pixels are black.
        prediction: The prediction in the class colours, likewise.
    """

    name: str
    mean_iou: float
    image: Image.Image
    label: Image.Image
    prediction: Image.Image


@dataclass(frozen=True)
class Assessment:
    """The figures of a model on a data set, ready for a report.

    Attributes:
        evaluation: The scores.
        confusion: Numbers of pixels, `(num_classes, num_classes)`, int64: rows are labels, columns
            are predictions.
        boundary: Pixels near the contours in the intersection and in the union of label and
            prediction, `(2, num_classes)`, int64; see
            `pdanet_tf.evaluation.boundary.boundary_counts`.
        image_counts: Pixels of each class in the intersection and in the union of label and
            prediction of each image, `(images, 2, num_classes)`, int64.
        calibration: Pixels by probability; None if the predictions have no probabilities.
        worst: The images of the lowest mean IoU, the lowest first. Images without a labelled pixel
            are left out.
        comparison: The difference to another model; None if there is none.
    """

    evaluation: Evaluation
    confusion: np.ndarray
    boundary: np.ndarray
    image_counts: np.ndarray
    calibration: Calibration | None
    worst: tuple[WorstImage, ...]
    comparison: Comparison | None = None

    def per_class(self) -> dict[str, np.ndarray]:
        """Returns the figures of each class by name, each `(num_classes,)`, float64.

        "precision" (NaN for a class that is never predicted), "recall" (NaN for one without a
        label), and "iou", "dice" and "boundary_iou" (NaN for one that is in neither).
        """
        correct = np.diag(self.confusion)
        labelled, predicted = self.confusion.sum(1), self.confusion.sum(0)
        return {
            "precision": _share(correct, predicted),
            "recall": _share(correct, labelled),
            "iou": _share(correct, labelled + predicted - correct),
            "dice": _share(2 * correct, labelled + predicted),
            "boundary_iou": _share(*self.boundary),
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures by name, ready for JSON; None where one is not defined."""
        names = self.evaluation.classes.names
        content = self.evaluation.to_dict()
        for name, values in self.per_class().items():
            if name != "iou":  # which the evaluation has
                content[f"{name}_per_class"] = {
                    key: None if np.isnan(value) else value
                    for key, value in zip(names, values.tolist(), strict=True)
                }
        content["confusion_matrix"] = self.confusion.tolist()
        if self.calibration is not None:
            content["expected_calibration_error"] = self.calibration.expected_error
        content["worst_images"] = {image.name: image.mean_iou for image in self.worst}
        if self.comparison is not None:
            content["comparison"] = dataclasses.asdict(self.comparison)
        return content

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def table(self) -> Table:
        """Returns the table of the scores for `rich.print`."""
        return self.evaluation.table()

    def chart(self) -> Image.Image:
        """Draws the IoU of every class as a bar; absent classes have no bar."""
        return self.evaluation.chart()


@dataclass(frozen=True)
class Sample:
    """One image with its label map and what was predicted.

    Attributes:
        name: Name of the image.
        image: `(height, width, channels)`.
        label: The label map, `(height, width)`.
        prediction: The predicted classes, `(height, width)`.
        confidence: The probability of each pixel's predicted class, `(height, width)`; None if it
            is not known.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray | None = None


def assess_samples(samples: Iterable[Sample], dataset: SegmentationDataset) -> Assessment:
    """Computes the figures of predictions, one image at a time.

    Args:
        samples: The images of the data set. At least one pixel must be labelled.
        dataset: The data set.
    """
    classes, void = dataset.classes, dataset.void_label
    number = len(classes)
    total = np.zeros((number, number), "int64")
    boundary = np.zeros((2, number), "int64")
    counts: list[np.ndarray] = []
    calibration: Calibration | None = None
    worst = _Worst(classes)
    for sample in samples:
        confusion = confusion_matrix(sample.label, sample.prediction, number)
        total += confusion
        counts.append(intersection_and_union(confusion))
        boundary += boundary_counts(sample.label, sample.prediction, number, void)
        if sample.confidence is not None:
            labelled = sample.label != void
            part = Calibration.of_pixels(
                sample.confidence[labelled], (sample.label == sample.prediction)[labelled]
            )
            calibration = part if calibration is None else calibration + part
        if confusion.any():
            worst.add(Scores.from_confusion(confusion).mean_iou_present, sample)
    evaluation = Evaluation(Scores.from_confusion(total), classes, len(counts))
    return Assessment(evaluation, total, boundary, np.stack(counts), calibration, worst.images())


def confusion_matrix(label: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the labelled pixels of an image.

    Returns:
        `(num_classes, num_classes)`, int64: rows are labels, columns are predictions.
    """
    labelled = (label >= 0) & (label < num_classes)
    cells = label[labelled].astype("int64") * num_classes + prediction[labelled]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def intersection_and_union(confusion: np.ndarray) -> np.ndarray:
    """Returns the pixels in intersection and union of each class, `(2, num_classes)`."""
    correct = np.diag(confusion)
    return np.stack([correct, confusion.sum(0) + confusion.sum(1) - correct])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


@dataclass
class _Worst:
    """Keeps the images of the lowest scores, as small copies."""

    classes: Classes
    heap: list[tuple[float, int, WorstImage]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, score: float, sample: Sample) -> None:
        """Takes an image if its score is among the lowest; of equal ones the first is kept."""
        if len(self.heap) == _WORST and -score <= self.heap[0][0]:
            return
        kept = WorstImage(
            sample.name,
            score,
            _reduced(to_rgb(sample.image)),
            _reduced(colorize(sample.label, self.classes)),
            _reduced(colorize(sample.prediction, self.classes)),
        )
        entry = (-score, -next(self.numbers), kept)
        if len(self.heap) < _WORST:
            heapq.heappush(self.heap, entry)
        else:
            heapq.heapreplace(self.heap, entry)

    def images(self) -> tuple[WorstImage, ...]:
        return tuple(image for _, _, image in sorted(self.heap, key=_order))


def _order(entry: tuple[float, int, WorstImage]) -> tuple[float, int]:
    return -entry[0], -entry[1]


def _reduced(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((_EDGE, _EDGE))
    return image
