"""Scores of a model, or of stored predictions, on a data set."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pdanet_tf.crf import CRFParameters
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.folder import FolderDataset
from pdanet_tf.data.readers import DataError
from pdanet_tf.files import write_atomically
from pdanet_tf.inference import Predictor, Protocol, count_classes, load_model
from pdanet_tf.metrics import MeanIoU, Scores


@dataclass(frozen=True)
class Evaluation:
    """Scores over a data set, with the names that belong to them.

    Attributes:
        scores: The scores.
        classes: Names and colours of the classes.
        images: Number of images.
    """

    scores: Scores
    classes: Classes
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures under plain names, ready for JSON."""
        scores = self.scores
        return {
            "images": self.images,
            "mean_iou": scores.mean_iou,
            "mean_iou_present": scores.mean_iou_present,
            "pixel_accuracy": scores.pixel_accuracy,
            "mean_accuracy": scores.mean_accuracy,
            "valid_pixels": int(scores.pixels.sum()),
            "classes_present": int(scores.present.sum()),
            "iou_per_class": dict(zip(self.classes.names, scores.iou.tolist(), strict=True)),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    def table(self) -> Table:
        """Returns a table of the figures, to be printed by rich."""
        scores = self.scores
        table = Table(title=f"{self.images} images")
        table.add_column("class")
        table.add_column("IoU", justify="right")
        table.add_column("labelled pixels", justify="right")
        total = max(int(scores.pixels.sum()), 1)
        for name, iou, present, pixels in zip(
            self.classes.names, scores.iou, scores.present, scores.pixels, strict=True
        ):
            shown = f"{iou:.4f}" if present else "absent"
            table.add_row(Text(name), shown, f"{100 * pixels / total:.2f}%")
        table.add_section()
        table.add_row("mean IoU, all classes", f"{scores.mean_iou:.4f}", "")
        table.add_row("mean IoU, classes present", f"{scores.mean_iou_present:.4f}", "")
        table.add_row("pixel accuracy", f"{scores.pixel_accuracy:.4f}", "")
        table.add_row("mean accuracy", f"{scores.mean_accuracy:.4f}", "")
        return table


def evaluate(
    model: keras.Model | str | os.PathLike[str],
    dataset: SegmentationDataset,
    protocol: Protocol | None = None,
    progress: bool = True,
    crf: CRFParameters | None = None,
) -> Evaluation:
    """Scores a model: every image at the protocol's sizes, compared at the label's own size.

    Args:
        model: A model from RGB pixels to logits, or a `.keras` file of one.
        dataset: Images and labels.
        protocol: At which sizes the model sees an image; by default what stands beside the
            model's file, else the image's own size, at most 1000 pixels long.
        progress: Whether to show a progress bar.
        crf: Parameters of the CRF that refines the probabilities (extra `crf`); None for none.

    Returns:
        The scores. `scores.mean_iou` is the official one, over all classes.

    Raises:
        ValueError: If model and data set differ in their number of classes.
        DataError: If a file cannot be used.

    Example:
        ```python
        dataset = pdanet_tf.load_dataset("camvid", "validation", "CamVid")
        evaluation = pdanet_tf.evaluate("runs/camvid/best.keras", dataset)
        rich.print(evaluation.table())
        ```
    """
    loaded, settings = load_model(model)
    if protocol is None and settings is not None:
        protocol = settings.protocol
    _check_num_classes(loaded, dataset)
    return evaluate_predictor(Predictor(loaded, protocol, crf), dataset, progress)


def evaluate_predictor(
    predictor: Predictor, dataset: SegmentationDataset, progress: bool = True
) -> Evaluation:
    """Scores a predictor, as `evaluate` does a model."""

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(dataset)):
            image, label = dataset.read(index)
            yield label, predictor.label_map(image, (label.shape[0], label.shape[1]))

    return _score(pairs(), dataset, progress)


def evaluate_predictions(
    folder: str | os.PathLike[str], dataset: FolderDataset, progress: bool = True
) -> Evaluation:
    """Scores stored predictions: one PNG per image, in the numbering of the data set's files.

    Args:
        folder: Holds `NAME.png` for every image of the data set.
        dataset: The labels.
        progress: Whether to show a progress bar.

    Returns:
        The scores.

    Raises:
        DataError: If a prediction is missing, has another size than its label, or predicts
            "no class".
    """
    folder = Path(folder)

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(dataset)):
            _, label = dataset.read(index)
            path = folder / f"{dataset.name(index)}.png"
            prediction = dataset.read_label(path)
            if prediction.shape != label.shape:
                raise DataError(
                    f"{path}: the prediction is {prediction.shape[0]} x {prediction.shape[1]} "
                    f"(height x width), its label {label.shape[0]} x {label.shape[1]}"
                )
            if (prediction == dataset.ignore_label).any():
                raise DataError(f"{path}: the prediction leaves pixels without a class")
            yield label, prediction

    return _score(pairs(), dataset, progress)


def _check_num_classes(model: keras.Model, dataset: SegmentationDataset) -> None:
    found = count_classes(model)
    if found != dataset.num_classes:
        raise ValueError(f"The model has {found} classes, the data set {dataset.num_classes}.")


def _score(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], dataset: SegmentationDataset, progress: bool
) -> Evaluation:
    metric = MeanIoU(dataset.num_classes, dataset.ignore_label)
    with Progress(
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not progress,
    ) as bar:
        for label, prediction in bar.track(pairs, total=len(dataset)):
            metric.update_state(label, prediction)
    return Evaluation(metric.scores(), dataset.classes, len(dataset))
