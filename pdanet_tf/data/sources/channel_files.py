"""The image files of a data set whose images are not RGB with 8 bits."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.pixel_format import PIXEL_DTYPES, PixelFormat
from pdanet_tf.data.channel_images import read_channels
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import IMAGE_FORMATS, raw_mode_of
from pdanet_tf.data.stored_images import open_stored


class ChannelFiles:
    """Image files that all have the same number of channels and the same type of values.

    Args:
        paths: The files of the data set.
        channels: Their number of channels.
    """

    def __init__(self, paths: Sequence[Path], channels: int) -> None:
        self.paths = paths
        self.channels = channels

    @functools.cached_property
    def _first(self) -> tuple[Path | None, str]:
        """The first file that has the channels, and the type of its values."""
        for path in self.paths:
            try:
                with open_stored(path, self.channels) as stored:
                    if stored.channels == self.channels and stored.dtype in PIXEL_DTYPES:
                        return path, stored.dtype
            except DataError:
                continue  # `read` raises it
        return None, "uint8"

    @property
    def pixel_format(self) -> PixelFormat:
        """The given number of channels, and the type of the first file that has them."""
        return PixelFormat(self.channels, self._first[1])

    def size(self, path: Path) -> tuple[int, int]:
        """Returns the (height, width) of an image, from its file's header.

        Raises:
            DataError: If the file is missing or not an image.
        """
        with open_stored(path, self.channels) as stored:
            return stored.size

    def read(self, path: Path) -> np.ndarray:
        """Returns an image `(height, width, channels)` in the values of its file.

        Raises:
            DataError: If the file cannot be read, or has other channels or another type.
        """
        return read_channels(path, self.pixel_format, self._first[0])


def are_rgb(paths: Sequence[Path]) -> bool:
    """Returns whether images of three channels are those that `read_image` converts to 8 bits.

    They are not if there are .npy files, or if the first file has more than 8 bits in colour.
    """
    if any(path.suffix.lower() == ".npy" for path in paths):
        return False
    if not paths:
        return True
    try:
        with Image.open(paths[0], formats=IMAGE_FORMATS) as image:
            return not (image.mode == "RGB" and ";16" in raw_mode_of(image))
    except Exception:  # Pillow raises errors of any kind; it reads no TIFF of 16 bits or float32
        return paths[0].suffix.lower() not in (".tif", ".tiff")
