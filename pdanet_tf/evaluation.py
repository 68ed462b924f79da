"""Scores of a model, or of stored predictions, on a data set."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pdanet_tf.crf import CRFParameters
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.folder import FolderDataset
from pdanet_tf.data.readers import DataError, read_label
from pdanet_tf.data.statistics import check_split
from pdanet_tf.files import read_json, whole_file, write_atomically
from pdanet_tf.inference import Predictor, Protocol, count_classes, load_model
from pdanet_tf.metrics import MeanIoU, Scores
from pdanet_tf.visualization import draw_bar_chart
from pdanet_tf.wording import quantity

_ORIGIN_FILE = "origin.json"  # beside stored predictions
_HASHED = ("weights", "names of the images", "sizes of the images")  # in that file
_IMAGE_HASH = "image"  # key of the text in each stored prediction


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
        table = Table(title=quantity(self.images, "image"))
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

    def chart(self) -> Image.Image:
        """Draws the IoU of every class as a bar; an absent class has none."""
        scores = self.scores
        values = np.where(scores.present, scores.iou, np.nan).tolist()
        title = f"mean IoU {scores.mean_iou:.4f}, {quantity(self.images, 'image')}"
        return draw_bar_chart(
            self.classes.names, values, title, "IoU (0 to 1)", self.classes.colors
        )


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
        store = _Store(Path(predictions), _origin(loaded, predictor, dataset), dataset, resume)
    return evaluate_predictor(predictor, dataset, progress, store)


def evaluate_predictor(
    predictor: Predictor,
    dataset: SegmentationDataset,
    progress: bool = True,
    store: "_Store | None" = None,
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


def _origin(model: keras.Model, predictor: Predictor, dataset: SegmentationDataset) -> Any:
    """Returns what a model's predictions depend on, as JSON gives it back."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.asarray(keras.ops.convert_to_numpy(weight)).tobytes())
    indices = range(len(dataset))
    origin = {
        "model": model.name,
        "weights": digest.hexdigest(),
        "precision": model.dtype_policy.name,
        "protocol": dataclasses.asdict(predictor.protocol),
        "crf": None if predictor.crf is None else dataclasses.asdict(predictor.crf),
        "classes": dataset.classes.names,
        "label_offset": dataset.label_offset,
        "number of images": len(dataset),
        "names of the images": _hash_json([dataset.name(index) for index in indices]),
        "sizes of the images": _hash_json([dataset.size(index) for index in indices]),
    }
    return json.loads(json.dumps(origin))


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _hash_image(image: np.ndarray) -> str:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class _Store:
    """Predicted label maps in a folder, with a note of what they come from.

    Each file also holds a hash of the pixels that it was predicted from, in a text chunk.

    Args:
        folder: The folder.
        origin: What the predictions depend on.
        dataset: Names of the images, and the numbering of the classes.
        resume: Whether the folder may hold predictions of the same origin.

    Raises:
        FileExistsError: If the folder holds anything and `resume` is off.
        ValueError: If it holds predictions of another origin.
    """

    def __init__(
        self, folder: Path, origin: dict[str, Any], dataset: SegmentationDataset, resume: bool
    ) -> None:
        self.folder = folder
        self.dataset = dataset
        note = folder / _ORIGIN_FILE
        if folder.exists() and any(folder.iterdir()):
            if not resume:
                raise FileExistsError(
                    f"{folder} already holds files. Choose another folder for the predictions, or "
                    "resume=True to go on with those in it."
                )
            if not note.is_file():
                raise ValueError(
                    f"{folder} holds files, but no {_ORIGIN_FILE} that tells what predictions come "
                    "from. Choose another folder for the predictions."
                )
            different = _differences(read_json(note), origin)
            if different:
                raise ValueError(
                    f"The predictions in {folder} come from another evaluation: {different}. "
                    "Choose another folder for the predictions."
                )
        write_atomically(note, json.dumps(origin, indent=2) + "\n")

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.dataset.name(index)}.png"

    def read(self, index: int, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """Returns the stored prediction of an image, or None if there is none."""
        path = self._path(index)
        if not path.is_file():
            return None
        prediction = read_label(path) - self.dataset.label_offset
        if prediction.shape != shape:
            raise DataError(
                f"{path}: the stored prediction is {prediction.shape[0]} x {prediction.shape[1]} "
                f"(height x width), the label {shape[0]} x {shape[1]}; remove the file"
            )
        with Image.open(path) as file:
            found = file.info.get(_IMAGE_HASH)
        if found != _hash_image(image):
            raise DataError(
                f"{path}: the stored prediction is not of this image, but of another one of that "
                "name and size. Choose another folder for the predictions, or remove the file"
            )
        return prediction

    def write(self, index: int, image: np.ndarray, prediction: np.ndarray) -> None:
        """Stores the prediction of an image, whole or not at all."""
        highest = self.dataset.num_classes - 1 + self.dataset.label_offset
        raw = prediction + self.dataset.label_offset
        text = PngInfo()
        text.add_text(_IMAGE_HASH, _hash_image(image))
        with whole_file(self._path(index)) as beside:
            label_map = Image.fromarray(raw.astype("uint8" if highest < 256 else "uint16"))
            label_map.save(beside, pnginfo=text)


def _differences(former: dict[str, Any], origin: dict[str, Any]) -> str:
    """Says how two evaluations differ; hashes are not shown."""
    found = []
    for name, value in origin.items():
        if former.get(name) == value:
            continue
        if name not in former:
            found.append(f"their {name} is not known")
        elif name in _HASHED:
            found.append(f"their {name} differ")
        else:
            found.append(f"their {name} is {former[name]!r}, not {value!r}")
    return "; ".join(found)


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
            if (prediction == dataset.ignore_label).any():
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
    metric = MeanIoU(dataset.num_classes, dataset.ignore_label)
    console = Console(stderr=True)
    with Progress(
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
        transient=True,
    ) as bar:
        for label, prediction in bar.track(pairs, total=len(dataset)):
            metric.update_state(label, prediction)
    return Evaluation(metric.scores(), dataset.classes, len(dataset))
