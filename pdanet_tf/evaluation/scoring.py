"""Evaluation of a model, or of stored predictions, on a data set."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.base.progress import track
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.validation.split import check_split
from pdanet_tf.evaluation.parts import WHOLE, Part
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.store import Store, describe_origin
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import load_model
from pdanet_tf.metrics import MeanIoU, Scores
from pdanet_tf.models.inspection import count_channels, count_classes


def evaluate(
    model: keras.Model | str | os.PathLike[str],
    dataset: SegmentationDataset,
    protocol: Protocol | None = None,
    progress: bool = True,
    crf: CRFParameters | None = None,
    predictions: str | os.PathLike[str] | None = None,
    resume: bool = False,
    weights: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Evaluates a model on a data set. Predictions are compared at the size of the label map.

    Args:
        model: A model, or what `pdanet_tf.inference.settings.load_model` loads: a `.keras` file, a
            published checkpoint, or with `weights` an architecture.
        dataset: Images and label maps.
        protocol: How images are presented to the model; by default the protocol that belongs to the
            model's weights, else the image's own size, at most 1000 pixels long.
        progress: Whether to show a progress bar, if standard error is a terminal.
        crf: Parameters of the CRF that refines the probabilities (extra `crf`); None for no
            refinement.
        predictions: A folder for the predicted label maps, `NAME.png` in the numbering of the
            data set's files; for ADE20K these are the numbers 1 to 150, which the benchmark's
            server expects. Each file is written as soon as the image has been predicted.
        resume: Continues an evaluation with the same `predictions` that was stopped: stored
            predictions are read, and not computed again.
        weights: Weights for the architecture that `model` names, see
            `pdanet_tf.inference.settings.load_model`.

    Returns:
        The scores. `scores.mean_iou` is the official one, over all classes.

    Raises:
        ValueError: If model and data set differ in their number of classes or channels or in the
            type of the values of images, or if the stored
            predictions come from another model, precision or protocol, or from other images.
        FileExistsError: If `predictions` contains files and `resume` is False.
        DataError: If a file cannot be used, or if scores would be meaningless: no pixel is
            labelled, or all annotations contain 0 and 255 instead of 0 and 1.

    Example:
        ```python
        dataset = pdanet_tf.load_dataset("camvid", "validation", "CamVid")
        evaluation = pdanet_tf.evaluate("runs/camvid/best.keras", dataset)
        rich.print(evaluation.table())
        ```
    """
    loaded, settings = load_model(model, weights)
    if protocol is None and settings is not None:
        protocol = settings.protocol
    _check_num_classes(loaded, dataset)
    if settings is None:
        check_pixel_format(PixelFormat(count_channels(loaded), None), dataset)
    else:
        check_pixel_format(settings.pixel_format, dataset)
    _check_labels(dataset)
    predictor = Predictor(loaded, protocol, crf, pixel_format=dataset.pixel_format)
    if predictions is None and resume:
        raise ValueError("resume=True requires predictions, the folder of the predictions so far.")
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
    store: Store | None = None,
    before_image: Callable[[], object] | None = None,
    part: Part = WHOLE,
) -> Evaluation:
    """Evaluates a predictor; see `evaluate`.

    `before_image` is called before every image. Several processes can share the images, each with
    its own `part`; the scores are those of all images.
    """

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in part.select(len(dataset)):
            if before_image is not None:
                before_image()
            image, label = dataset.read(index)
            prediction = None if store is None else store.read(index, image, label.shape)
            if prediction is None:
                prediction = predictor.label_map(image, (label.shape[0], label.shape[1]))
                if store is not None:
                    store.write(index, image, prediction)
            yield label, prediction

    return _score(pairs(), dataset, progress, part)


def evaluate_predictions(
    folder: str | os.PathLike[str], dataset: FolderDataset, progress: bool = True
) -> Evaluation:
    """Evaluates stored predictions: one PNG per image, in the numbering of the data set's files.

    Args:
        folder: A folder with a file `NAME.png` for every image of the data set.
        dataset: The label maps.
        progress: Whether to show a progress bar, if standard error is a terminal.

    Returns:
        The scores.

    Raises:
        DataError: If a prediction is missing, has another size than the label map, or has pixels
            without a class; or as in `evaluate`.
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
        raise ValueError(
            f"The model has {found} classes, the data set {dataset.num_classes}. Set num_classes "
            "to the number of the model, or evaluate a model that was trained on these classes"
        )


def check_pixel_format(expected: PixelFormat, dataset: SegmentationDataset) -> None:
    """Checks that a data set has images of the format that a model was trained on.

    Args:
        expected: The format. Its type is None if it is not known.
        dataset: The data set.

    Raises:
        ValueError: If it has others.
    """
    found = dataset.pixel_format
    if expected.holds(found):
        return
    advice = f"Save the images with the type {expected.dtype}"
    if found.channels != expected.channels:
        advice = (
            "Choose a data set with images of the model's channels, or a model for those of the "
            f"data set. A folder whose images have {expected.channels} channels is opened with "
            f"channels={expected.channels}"
        )
    raise ValueError(
        f"The model takes images of {expected}, the data set has images of {found}. {advice}"
    )


def _check_labels(dataset: SegmentationDataset) -> None:
    """Raises an error if scores would be meaningless. Reads one image if all is well."""
    split = getattr(dataset, "split", None)
    # The name must not begin with "train": one class is too few to train on, but can be scored.
    check_split("the data set" if split is None else f"the split {split}", dataset)


def _score(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    dataset: SegmentationDataset,
    progress: bool,
    part: Part = WHOLE,
) -> Evaluation:
    metric = MeanIoU(dataset.num_classes, dataset.void_label)
    count = len(part.select(len(dataset)))
    for label, prediction in track(pairs, "Evaluating", count, progress, leave=False):
        metric.update_state(label, prediction)
    matrix = part.sum(keras.ops.convert_to_numpy(metric.matrix).astype("float64"))
    return Evaluation(Scores.from_confusion(matrix), dataset.classes, len(dataset))
