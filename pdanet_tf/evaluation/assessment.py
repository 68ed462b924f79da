"""The figures of the report of an evaluation, and its worst images."""

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.evaluation.boundary import boundary_counts
from pdanet_tf.evaluation.calibration import Calibration
from pdanet_tf.evaluation.comparison import Comparison, mean_iou_interval
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.speed import Speed
from pdanet_tf.evaluation.worst import Sample, WorstImage, WorstImages
from pdanet_tf.files import write_atomically
from pdanet_tf.metrics import Scores


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
        sizes: Height and width of each label map, `(images, 2)`, int64; None if not known.
        speed: The time that each image took; None if the predictions were stored ones.
    """

    evaluation: Evaluation
    confusion: np.ndarray
    boundary: np.ndarray
    image_counts: np.ndarray
    calibration: Calibration | None
    worst: tuple[WorstImage, ...]
    comparison: Comparison | None = None
    sizes: np.ndarray | None = None
    speed: Speed | None = None

    @property
    def mean_iou_interval(self) -> tuple[float, float]:
        """95% interval of the mean IoU over all classes, by a bootstrap over the images."""
        return mean_iou_interval(self.image_counts)

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
        content["mean_iou_interval"] = list(self.mean_iou_interval)
        if self.calibration is not None:
            content["expected_calibration_error"] = self.calibration.expected_error
        if self.speed is not None:
            content["milliseconds_per_image"] = self.speed.milliseconds
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
    worst = WorstImages(classes)
    sizes: list[tuple[int, ...]] = []
    for sample in samples:
        confusion = confusion_matrix(sample.label, sample.prediction, number)
        total += confusion
        counts.append(intersection_and_union(confusion))
        sizes.append(sample.label.shape)
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
    return Assessment(
        evaluation,
        total,
        boundary,
        np.stack(counts),
        calibration,
        worst.images(),
        sizes=np.array(sizes, "int64"),
    )


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
