"""What the models of the page say about an image."""

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import keras
import numpy as np

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import EncodedFile, read_image, resize_image
from pdanet_tf.demo.packing import pack, to_bytes
from pdanet_tf.demo.samples import encode_jpeg
from pdanet_tf.inference.display import to_rgb
from pdanet_tf.inference.explanation import explain
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.predictor import Predictor

LONGEST_SHOWN = 2048  # side of a label map that the page shows; more pixels than screens have
_LONGEST_EXPLAINED = 1024  # all probabilities and features of an explained image are in memory


@dataclass(frozen=True)
class ShownModel:
    """A model of the page.

    Attributes:
        name: Its name on the page.
        predictor: The model. It is called by one thread at a time.
        runtime: What runs its network, in words.
    """

    name: str
    predictor: Predictor
    runtime: str

    def trace(self) -> None:
        """Segments an empty image, which traces the graphs for images of all sizes."""
        pixel_format = self.predictor.pixel_format
        dtype = pixel_format.dtype or "uint8"  # None takes any
        self.predictor.confident_label_map(np.zeros((64, 64, pixel_format.channels), dtype))

    def describe(self) -> dict[str, Any]:
        """Returns what the page tells about the model, ready for JSON."""
        classes = self.predictor.classes
        return {
            "name": self.name,
            "architecture": self.predictor.model.name,
            "precision": _precision(self.predictor.model),
            "runtime": self.runtime,
            "rgb": self.predictor.pixel_format.is_rgb,
            "classes": [
                {"name": name, "color": color, "painted": not classes.is_background(index)}
                for index, (name, color) in enumerate(
                    zip(classes.names, classes.colors, strict=True)
                )
            ],
        }


def _precision(model: keras.Model) -> str:
    """Returns the dtype policy of most layers with weights."""
    policies = Counter(layer.dtype_policy.name for layer in model.layers if layer.weights)
    return policies.most_common(1)[0][0]


def segment(
    model: ShownModel, content: bytes, name: str, whole: bool = False, picture: bool = False
) -> bytes:
    """Returns the label map and the confidence of an image, packed.

    Args:
        model: The model.
        content: The bytes of an image file.
        name: Its name, for errors.
        whole: Whether the label map has the image's own size, however large; otherwise its longest
            side is at most 2048, which saves most of the time that a photo of 12 megapixels takes.
        picture: Whether to add the image as a JPEG, for files that browsers do not show.

    Returns:
        Packed: see `pack`. Figures: "size", the (height, width) of the image, and
        "seconds", the time of the model. Arrays: "labels" `(height, width)`, uint8, or uint16 for
        more than 256 classes; "confidence" `(height, width)`, uint8, 255 for a probability of 1;
        and "picture", the bytes of the JPEG.

    Raises:
        DataError: If the content is not an image, damaged or too large.
    """
    pixels = read_content(content, name, model.predictor.pixel_format)
    size = (pixels.shape[0], pixels.shape[1])
    shown = size if whole else fit(size, LONGEST_SHOWN)
    start = time.perf_counter()
    labels, confidence = model.predictor.confident_label_map(pixels, shown)
    seconds = time.perf_counter() - start
    dtype = "uint8" if len(model.predictor.classes) <= 256 else "uint16"
    arrays = {"labels": labels.astype(dtype), "confidence": to_bytes(confidence)}
    if picture:
        jpeg = encode_jpeg(resize_image(to_rgb(pixels), shown))
        arrays["picture"] = np.frombuffer(jpeg, "uint8")
    return pack({"size": size, "seconds": seconds}, arrays)


def explain_content(
    model: ShownModel, content: bytes, name: str, place: tuple[float, float]
) -> bytes:
    """Returns what the network does with an image, packed; see `pdanet_tf.inference.explain`.

    An image whose longest side exceeds 1024 pixels is reduced first.

    Args:
        model: The model.
        content: The bytes of an image file.
        name: Its name, for errors.
        place: The position, row and column as shares (0 to 1) of the height and the width.

    Returns:
        Figures: those of `Explanation.to_dict`, "size", the (height, width) to which "at" refers,
        and "highest", the largest weight of each attention. Arrays, all uint8: "picture", a JPEG;
        "entropy" and "receptive_field", 255 for 1; and for each level NAME
        "position_attention_NAME" and "channel_attention_NAME", 255 for the largest weight.

    Raises:
        DataError: If the content is not an image, damaged or too large.
        RuntimeError: If Keras runs on another backend than TensorFlow.
        ValueError: If the position is not from 0 to 1.
    """
    if not all(0 <= share <= 1 for share in place):
        raise ValueError(f"The position must be shares from 0 to 1. Received: {place}")
    pixels = read_content(content, name, model.predictor.pixel_format)
    pixels = resize_image(pixels, fit((pixels.shape[0], pixels.shape[1]), _LONGEST_EXPLAINED))
    height, width = pixels.shape[:2]
    at = min(int(place[0] * height), height - 1), min(int(place[1] * width), width - 1)
    explanation = explain(pixels, model.predictor, at)
    found = explanation.arrays()
    del found["label_map"]
    highest = {
        name: float(array.max()) if "_attention_" in name else 1.0 for name, array in found.items()
    }
    arrays = {name: to_bytes(array, highest[name]) for name, array in found.items()}
    arrays["picture"] = np.frombuffer(encode_jpeg(to_rgb(pixels)), "uint8")
    return pack({**explanation.to_dict(), "size": (height, width), "highest": highest}, arrays)


def read_content(content: bytes, name: str, pixel_format: PixelFormat) -> np.ndarray:
    """Returns the pixels of an image file, upright, `(height, width, channels)`.

    Raises:
        DataError: If the content is not an image of the format, damaged or too large.
    """
    if pixel_format.is_rgb:
        return read_image(EncodedFile(name, content), honour_orientation=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (PurePath(name).name or "image")
        path.write_bytes(content)
        try:
            return read_pixels(path, pixel_format)
        except DataError as error:
            raise DataError(str(error).replace(f"{folder}{os.sep}", "")) from error


def fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns the (height, width) of an image whose longest side is at most `longest`."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
