"""Predictions out of the answers of a server."""

import functools

import numpy as np

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import EncodedFile, read_label
from pdanet_tf.files import one_line
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.serving.codecs import Tensors
from pdanet_tf.serving.errors import ForeignAnswerError, RequestError
from pdanet_tf.serving.images import SentImage

MAIN_OUTPUTS = {"serving_default": "label_map_bytes", "image": "labels"}
_ALL_LABELS = 256  # of 8 bits


def read_predictions(
    outputs: Tensors, images: list[SentImage], classes: Classes | None
) -> list[Prediction | RequestError]:
    """Returns the prediction of each image, or why the server refused it.

    Args:
        outputs: The outputs of a signature: `label_map_bytes` `(batch,)`, PNG files, with
            `class_ids` `(batch, num_classes)` and `error` `(batch,)` if there are any; or `labels`
            `(batch, height, width)`.
        images: The images that were sent.
        classes: Names and colours of the classes; if None they are numbered.

    Raises:
        ForeignAnswerError: If there are no such outputs, or they do not fit the images.
    """
    label_maps = _label_maps(outputs, images)
    errors = _column(outputs, "error", images) if "error" in outputs else [b""] * len(images)
    found: list[Prediction | RequestError] = []
    for image, label_map, error in zip(images, label_maps, errors, strict=True):
        if error:
            text = one_line(ValueError(bytes(error).decode("utf-8", "replace")), 400)
            found.append(RequestError(f"{image.name}: the server refused the image: {text}"))
            continue
        if isinstance(label_map, bytes):
            label_map = _decode(label_map, image)
        found.append(_prediction(label_map, image, classes, outputs))
    return found


def _label_maps(outputs: Tensors, images: list[SentImage]) -> list[bytes] | np.ndarray:
    """Returns the label map of each image, encoded or not."""
    if "label_map_bytes" in outputs:
        return _column(outputs, "label_map_bytes", images)
    if "labels" not in outputs:
        raise ForeignAnswerError(
            f"it has the outputs {', '.join(sorted(outputs))}, but neither label_map_bytes nor "
            "labels"
        )
    labels, expected = outputs["labels"], (len(images), *images[0].pixels.shape[:2])
    if labels.shape != expected or labels.dtype.kind not in "iu":
        raise ForeignAnswerError(
            f"labels must be integers of the shape {expected}, and are {labels.dtype} of the shape "
            f"{labels.shape}"
        )
    if labels.min() < 0:
        raise ForeignAnswerError(f"labels has the class {labels.min()}")
    return labels.astype("int32")


def _column(outputs: Tensors, name: str, images: list[SentImage]) -> list[bytes]:
    strings = outputs[name].ravel()
    if strings.dtype != object or len(strings) != len(images):
        raise ForeignAnswerError(
            f"{name} must be a string for each of {quantity(len(images), 'image')}, and is "
            f"{outputs[name].dtype} of the shape {outputs[name].shape}"
        )
    return strings.tolist()


def _decode(content: bytes, image: SentImage) -> np.ndarray:
    """Decodes a label map: `(height, width)`, int32."""
    try:
        label_map = read_label(EncodedFile(f"the label map of {image.name}", content))
    except DataError as error:
        raise ForeignAnswerError(one_line(error).removesuffix(".")) from error
    if label_map.shape != image.pixels.shape[:2]:
        raise ForeignAnswerError(
            f"the label map of {image.name} has {label_map.shape[0]} x {label_map.shape[1]} "
            f"pixels, and the image {image.pixels.shape[0]} x {image.pixels.shape[1]}"
        )
    return label_map


def _prediction(
    label_map: np.ndarray, image: SentImage, classes: Classes | None, outputs: Tensors
) -> Prediction:
    highest = int(label_map.max())
    if classes is None:
        class_ids = outputs.get("class_ids")
        listed = _ALL_LABELS
        if class_ids is not None and class_ids.ndim == 2:  # (batch, num_classes)
            listed = class_ids.shape[1]
        classes = _numbered(max(listed, highest + 1))
    elif highest >= len(classes):
        raise ForeignAnswerError(
            f"the label map of {image.name} has class {highest}, and classes has only "
            f"{quantity(len(classes), 'name')}, from class 0"
        )
    return Prediction(label_map, image.pixels, classes)


@functools.lru_cache(maxsize=4)
def _numbered(count: int) -> Classes:
    return Classes.numbered(count)
