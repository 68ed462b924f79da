"""Evaluates a model, or stored predictions, with all figures of the report."""

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from pdanet_tf.base.progress import track
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.evaluation.assessment import (
    Assessment,
    assess_samples,
    confusion_matrix,
    intersection_and_union,
)
from pdanet_tf.evaluation.comparison import compare
from pdanet_tf.evaluation.scoring import open_predictor, stored_predictions
from pdanet_tf.evaluation.speed import Speed, describe_device, machine_load
from pdanet_tf.evaluation.store import Store, describe_origin
from pdanet_tf.evaluation.worst import Sample
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol


def assess(
    model: keras.Model | str | os.PathLike[str],
    dataset: SegmentationDataset,
    protocol: Protocol | None = None,
    progress: bool = True,
    crf: CRFParameters | None = None,
    predictions: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    other: Predictor | None = None,
    other_name: str = "the other model",
) -> Assessment:
    """Evaluates a model as `evaluate` does, with all figures of the report.

    The label maps are those that `evaluate` scores. Memory grows with the number of images by two
    counts for each class, and by twelve small copies of the worst.

    Args:
        model: See `pdanet_tf.evaluate`.
        dataset: See `pdanet_tf.evaluate`.
        protocol: See `pdanet_tf.evaluate`.
        progress: See `pdanet_tf.evaluate`.
        crf: See `pdanet_tf.evaluate`.
        predictions: A new folder for the predicted label maps, see `pdanet_tf.evaluate`. It cannot
            be resumed, because stored label maps have no probabilities.
        weights: See `pdanet_tf.evaluate`.
        other: Another model, which `open_predictor` opened for the same data set, to be compared
            with.
        other_name: Its name in the report.

    Returns:
        The figures.

    Raises:
        ValueError: As in `pdanet_tf.evaluate`.
        FileExistsError: If `predictions` contains files.
        DataError: As in `pdanet_tf.evaluate`.

    Example:
        ```python
        dataset = pdanet_tf.load_dataset("camvid", "validation", "CamVid")
        assessment = pdanet_tf.evaluation.assess("runs/camvid/best.keras", dataset)
        pdanet_tf.evaluation.write_assessment("report.html", assessment)
        ```
    """
    predictor = open_predictor(model, dataset, protocol, crf, weights)
    store = None
    if predictions is not None:
        origin = describe_origin(predictor.model, predictor, dataset)
        store = Store(Path(predictions), origin, dataset, resume=False)
    counts: list[np.ndarray] = []
    seconds: list[float] = []
    loads: list[float] = []

    def samples() -> Iterator[Sample]:
        for index in range(len(dataset)):
            image, label = dataset.read(index)
            size = (label.shape[0], label.shape[1])
            start = time.perf_counter()
            prediction, confidence = predictor.confident_label_map(image, size)
            seconds.append(time.perf_counter() - start)
            loads.append(machine_load())
            if store is not None:
                store.write(index, image, prediction)
            if other is not None:
                matrix = confusion_matrix(label, other.label_map(image, size), len(dataset.classes))
                counts.append(intersection_and_union(matrix))
            yield Sample(dataset.name(index), image, label, prediction, confidence)

    tracked = track(samples(), "Evaluating", len(dataset), progress, leave=False)
    assessment = assess_samples(tracked, dataset)
    speed = Speed(np.array(seconds), describe_device(), float(np.mean(loads)))
    assessment = dataclasses.replace(assessment, speed=speed)
    if other is None:
        return assessment
    comparison = compare(other_name, assessment.image_counts, np.stack(counts))
    return dataclasses.replace(assessment, comparison=comparison)


def assess_predictions(
    folder: str | os.PathLike[str], dataset: FolderDataset, progress: bool = True
) -> Assessment:
    """Evaluates stored predictions as `evaluate_predictions` does, with the figures of the report.

    There is no calibration, because stored label maps have no probabilities.

    Args:
        folder: See `pdanet_tf.evaluation.evaluate_predictions`.
        dataset: See `pdanet_tf.evaluation.evaluate_predictions`.
        progress: Whether to show a progress bar, if standard error is a terminal.

    Returns:
        The figures.

    Raises:
        DataError: As in `pdanet_tf.evaluation.evaluate_predictions`.
    """
    samples = (
        Sample(dataset.name(index), image, label, prediction)
        for index, (image, label, prediction) in enumerate(stored_predictions(folder, dataset))
    )
    return assess_samples(
        track(samples, "Evaluating", len(dataset), progress, leave=False), dataset
    )
