"""Scores of a model, or of stored predictions, on a data set."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from pdanet_tf.base.progress import track
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.statistics import check_split
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.store import Store, describe_origin
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import load_model
from pdanet_tf.metrics import MeanIoU
from pdanet_tf.models.segmentation import count_classes


def evaluate(
    model: keras.Model | str | os.PathLike[str],
    dataset: SegmentationDataset,
    protocol: Protocol | None = None,
    progress: bool = True,
    crf: CRFParameters | None = None,
    predictions: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Evaluation:
    """Scores a model: every image as the protocol says, compared at the label's own size.

    Args:
        model: A model from RGB pixels to logits, or a `.keras` file of one.
        dataset: Images and labels.
        protocol: How the model sees an image; by default what stands beside the model's file,
            else the image's own size, at most 1000 pixels long.
        progress: Whether to show a progress bar, if standard error is a terminal.
        crf: Parameters of the CRF that refines the probabilities (extra `crf`); None for none.
        predictions: A folder for the predicted label maps, `NAME.png` in the numbering of the
            data set's files: of ADE20K what the benchmark's server takes, 1 to 150. Each is
            written as soon as it is there.
        resume: Goes on where an evaluation with the same `predictions` stopped: what is stored is
            read, and not predicted again.

    Returns:
        The scores. `scores.mean_iou` is the official one, over all classes.

    Raises:
        ValueError: If model and data set differ in their number of classes, or if predictions
            of another model, precision, protocol or of other images would be resumed.
        FileExistsError: If `predictions` holds files and `resume` is off.
        DataError: If a file cannot be used, or no score of the data set means anything: no pixel
            is labelled, or all annotations hold 0 and 255 for 0 and 1.

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
    _check_labels(dataset)
    predictor = Predictor(loaded, protocol, crf)
    if predictions is None and resume:
        raise ValueError("resume=True needs the folder of the predictions so far.")
    store = None
    if predictions is not None:
        store = Store(
            Path(predictions), describe_origin(loaded, predictor, dataset), dataset, resume
        )
    return evaluate_predictor(predictor, dataset, progress, store)


def evaluate_predictor(
    predictor: Predictor,
    dataset: SegmentationDataset,
    progress: bool = True,
    store: "Store | None" = None,
) -> Evaluation:
    """Scores a predictor, as `evaluate` does a model."""

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(dataset)):
            image, label = dataset.read(index)
            prediction = None if store is None else store.read(index, image, label.shape)
            if prediction is None:
                prediction = predictor.label_map(image, (label.shape[0], label.shape[1]))
                if store is not None:
                    store.write(index, image, prediction)
            yield label, prediction

    return _score(pairs(), dataset, progress)


def evaluate_predictions(
    folder: str | os.PathLike[str], dataset: FolderDataset, progress: bool = True
) -> Evaluation:
    """Scores stored predictions: one PNG per image, in the numbering of the data set's files.

    Args:
        folder: Holds `NAME.png` for every image of the data set.
        dataset: The labels.
        progress: Whether to show a progress bar, if standard error is a terminal.

    Returns:
        The scores.

    Raises:
        DataError: If a prediction is missing, has another size than its label, or predicts
            "no class"; or as in `evaluate`.
    """
    folder = Path(folder)
    _check_labels(dataset)

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
            if (prediction == dataset.void_label).any():
                raise DataError(f"{path}: the prediction leaves pixels without a class")
            yield label, prediction

    return _score(pairs(), dataset, progress)


def _check_num_classes(model: keras.Model, dataset: SegmentationDataset) -> None:
    found = count_classes(model)
    if found != dataset.num_classes:
        raise ValueError(f"The model has {found} classes, the data set {dataset.num_classes}.")


def _check_labels(dataset: SegmentationDataset) -> None:
    """Raises if no score can mean anything; where all is well, one image is read for it."""
    split = getattr(dataset, "split", None)
    # Not a name that begins with "train": one class is too few to learn, but may be scored.
    check_split("the data set" if split is None else f"the split {split}", dataset)


def _score(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], dataset: SegmentationDataset, progress: bool
) -> Evaluation:
    metric = MeanIoU(dataset.num_classes, dataset.void_label)
    for label, prediction in track(pairs, "Evaluating", len(dataset), progress, leave=False):
        metric.update_state(label, prediction)
    return Evaluation(metric.scores(), dataset.classes, len(dataset))
