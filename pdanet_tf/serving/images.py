"""Images as a client sends them."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.arrays import check_image
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import (
    EncodedFile,
    convert_to_rgb,
    decoding,
    open_image,
    raw_mode_of,
    turned_upright,
)
from pdanet_tf.inference.pixels import ImageLike

# Files that every export decodes to the pixels that `pdanet_tf.predict` reads.
_PLAIN_FORMATS = ("JPEG", "MPO", "PNG")
_PLAIN_MODES = ("RGB", "L")


@dataclass(frozen=True)
class SentImage:
    """An image, read.

    Attributes:
        name: The name that errors use.
        pixels: The upright image, `(height, width, 3)`, uint8, RGB.
        content: The file as it is, if a server decodes it to these pixels; otherwise None.
    """

    name: str
    pixels: np.ndarray
    content: bytes | None = None

    def encoded(self) -> bytes:
        """Returns the file, or a PNG of the pixels."""
        if self.content is not None:
            return self.content
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def read_image_to_send(image: ImageLike, name: str) -> SentImage:
    """Reads an image, upright as its EXIF orientation says.

    A file travels as it is if it is an upright JPEG or PNG, in RGB or grey, with 8 bits per
    channel. Everything else is converted to RGB as `pdanet_tf.predict` does, and travels as a PNG.

    Args:
        image: The path of a file, a Pillow image, or an array `(height, width, 3)`, uint8, RGB.
        name: The name that errors use, unless the image is a file.

    Raises:
        DataError: If a file is missing, truncated, not an image or too large.
        ValueError: If an array has another shape or dtype.
    """
    if isinstance(image, np.ndarray):
        check_image(image)
        return SentImage(name, image)
    if isinstance(image, Image.Image):
        return SentImage(name, np.asarray(convert_to_rgb(image, name, honour_orientation=True)))
    path = os.fspath(image)
    try:
        file = EncodedFile(path, Path(path).read_bytes())
    except OSError as error:
        text = f"the file cannot be read: {error.strerror}"
        raise DataError(Problem(path, "unreadable image", text, "Correct the path")) from error
    with open_image(file) as opened, decoding(path, "image"):
        is_plain = opened.format in _PLAIN_FORMATS and raw_mode_of(opened) in _PLAIN_MODES
        pixels = np.asarray(convert_to_rgb(opened, path, honour_orientation=True))
        is_plain = is_plain and turned_upright(opened) is opened
    return SentImage(path, pixels, file.content if is_plain else None)
