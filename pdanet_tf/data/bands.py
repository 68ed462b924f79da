"""Images of any number of channels with the methods of a Pillow image, for those of other modes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pdanet_tf.base.pixel_format import PixelFormat


class BandImage:
    """An image of any number of channels, with the methods of a Pillow image that batches use.

    Pillow has no mode for such images, but it has one for a single channel. Each method applies
    Pillow's method of the same name to every channel. Channels of 8 bits therefore get the same
    values as those of an RGB image, rounded to whole numbers. Other channels are float32, and
    their values are not rounded.

    Args:
        bands: One Pillow image per channel, of mode "L" (8 bits) or "F" (float32).
        pixel_format: The format of the image that they were made from.
    """

    def __init__(self, bands: Sequence[Image.Image], pixel_format: PixelFormat) -> None:
        self.bands = tuple(bands)
        self.pixel_format = pixel_format

    @classmethod
    def from_array(cls, pixels: np.ndarray, pixel_format: PixelFormat | None = None) -> "BandImage":
        """Returns an array `(height, width, channels)`, uint8, uint16 or float32, as an image.

        Args:
            pixels: The array.
            pixel_format: The format of the image that it was made from, if it is another one.
        """
        pixel_format = pixel_format or PixelFormat(pixels.shape[-1], pixels.dtype.name)
        dtype = "uint8" if pixels.dtype == np.uint8 else "float32"
        channels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0), dtype)
        return cls([Image.fromarray(channel) for channel in channels], pixel_format)

    @property
    def width(self) -> int:
        """The width in pixels."""
        return self.bands[0].width

    @property
    def height(self) -> int:
        """The height in pixels."""
        return self.bands[0].height

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels."""
        return self.bands[0].size

    def resize(self, *arguments: Any, **options: Any) -> "BandImage":
        """Resizes every channel, see `PIL.Image.Image.resize`."""
        return self._each(lambda band: band.resize(*arguments, **options))

    def transpose(self, method: Image.Transpose) -> "BandImage":
        """Flips or rotates every channel, see `PIL.Image.Image.transpose`."""
        return self._each(lambda band: band.transpose(method))

    def _each(self, change: Callable[[Image.Image], Image.Image]) -> "BandImage":
        return BandImage([change(band) for band in self.bands], self.pixel_format)

    def mixed(self, matrix: np.ndarray, offset: np.ndarray) -> "BandImage":
        """Returns linear combinations of the channels, clipped to the range of integer values.

        Args:
            matrix: `(channels, channels)`, the weights of the channels in each new channel.
            offset: `(channels,)`, added to each new channel.
        """
        values = np.asarray(self).astype("float32") @ matrix.T.astype("float32")
        values += offset.astype("float32")
        if self.pixel_format.highest is not None:
            np.clip(values, 0, self.pixel_format.highest, out=values)
        if self.pixel_format.dtype == "uint8":
            values = np.rint(values)
        mode = self.bands[0].mode
        channels = np.moveaxis(values, -1, 0).astype("uint8" if mode == "L" else "float32")
        return BandImage([Image.fromarray(channel) for channel in channels], self.pixel_format)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Returns `(height, width, channels)`, uint8 or float32."""
        array = np.stack([np.asarray(band) for band in self.bands], axis=-1)
        return array if dtype is None else array.astype(dtype, copy=False)


def as_image(
    pixels: np.ndarray, pixel_format: PixelFormat | None = None
) -> Image.Image | BandImage:
    """Returns an array `(height, width, channels)` as a Pillow image if it is RGB with 8 bits.

    The arguments are those of `BandImage.from_array`.
    """
    if pixels.shape[-1] == 3 and pixels.dtype == np.uint8:
        return Image.fromarray(pixels)
    return BandImage.from_array(pixels, pixel_format)


def as_array(image: Image.Image | BandImage) -> np.ndarray:
    """Returns an image as an array `(height, width, channels)` of the type of its values."""
    if isinstance(image, BandImage):
        return np.asarray(image).astype(image.pixel_format.dtype or "float32")
    return np.asarray(image)
