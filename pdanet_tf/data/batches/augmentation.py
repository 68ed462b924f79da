"""Changes of crops that are off by default: rotation, blur and loss of resolution.

Images are arrays `(height, width, channels)` of any number of channels, uint8, uint16 or float32.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from pdanet_tf.base.ranges import check_at_least
from pdanet_tf.data.batches.sampling import EXTRA_VARIATION, variation

_RADIUS = 3  # of the blur's kernel, in standard deviations


class Changes(NamedTuple):
    """The changes of one sample.

    Attributes:
        angle: Rotation in degrees, counter-clockwise.
        sigma: Standard deviation of the blur, in pixels.
        factor: Factor by which the crop is scaled down, and up again.
    """

    angle: float
    sigma: float
    factor: float


@dataclass(frozen=True)
class Augmentation:
    """The largest changes. Those of each sample are drawn uniformly from none to the largest.

    Attributes:
        rotation: Largest angle in degrees, in both directions.
        blur: Largest standard deviation of the Gaussian blur, in pixels of the crop.
        downscale: Largest factor by which crops are scaled down, and up again; 1 changes nothing.

    Raises:
        ValueError: If a value is out of range.
    """

    rotation: float = 0.0
    blur: float = 0.0
    downscale: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("rotation", self.rotation, 0)
        check_at_least("blur", self.blur, 0)
        check_at_least("downscale", self.downscale, 1)

    @property
    def is_on(self) -> bool:
        """Whether there is any change."""
        return self != Augmentation()

    def draw(self, seed: int, position: int) -> Changes:
        """Returns the changes of the sample at a position of the endless stream.

        Their random stream is their own: the scale, place, flip and colours of a sample, and each
        of its changes, do not depend on which changes are on.
        """
        turn, soften, shrink = variation(seed, position, EXTRA_VARIATION).random(3)
        return Changes(
            angle=self.rotation * (2 * turn - 1),
            sigma=self.blur * soften,
            factor=1 + (self.downscale - 1) * shrink,
        )


class RotatedWindow:
    """A part of an image, and how it becomes a crop: scaled and rotated about its middle.

    Both are done in one resampling. What lies outside the image has the colour `fill` in the crop,
    and the label for unlabelled pixels in its label map.

    Args:
        box: Left, top, right and bottom of the part, in pixels of the image.
        size: (width, height) of the crop.
        angle: Degrees by which the content is rotated counter-clockwise.
        shape: (height, width) of the image.
        fill: One value per channel.
    """

    def __init__(
        self,
        box: tuple[float, float, float, float],
        size: tuple[int, int],
        angle: float,
        shape: tuple[int, ...],
        fill: Sequence[float],
    ) -> None:
        left, top, right, bottom = box
        self.size = width, height = size
        self._shape = shape
        self._fill = np.asarray(fill)
        self._scale = (right - left) / width, (bottom - top) / height
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        (across, down), middle = self._scale, (width / 2, height / 2)
        x_row = (across * cosine, -across * sine)
        y_row = (down * sine, down * cosine)
        # From a point of the crop to a point of the image; pixel i spans i to i + 1.
        self._matrix = (
            *x_row,
            (left + right) / 2 - x_row[0] * middle[0] - x_row[1] * middle[1],
            *y_row,
            (top + bottom) / 2 - y_row[0] * middle[0] - y_row[1] * middle[1],
        )

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Returns the crop of an image, interpolated bilinearly.

        Where the image is scaled down by a factor of 2 or more, whole blocks of its pixels are
        averaged first, so that no pixel is skipped.
        """
        step = max(1, math.floor(min(self._scale)))
        matrix = tuple(value / step for value in self._matrix)

        def transform(band: Image.Image) -> Image.Image:
            if step > 1:
                band = band.reduce(step)
            return band.transform(
                self.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
            )

        return self.fill_outside(_map_bands(image, transform))

    def fill_outside(self, crop: np.ndarray, flipped: bool = False) -> np.ndarray:
        """Returns a crop, or its mirror image, with the fill where there is no image."""
        outside = self._outside[:, ::-1] if flipped else self._outside
        if not outside.any():
            return crop
        filled = crop.copy()
        filled[outside] = _as_type(self._fill, crop.dtype)
        return filled

    @functools.cached_property
    def _outside(self) -> np.ndarray:
        width, height = self.size
        return ~self._source(np.arange(width), np.arange(height))[2]

    def subsampled_label(
        self,
        label: np.ndarray,
        stride: int,
        start: int | None,
        void_label: int,
        flipped: bool = False,
    ) -> np.ndarray:
        """Returns the labels of the crop, or of its mirror image, by nearest neighbour.

        Args:
            label: `(height, width)` of the image.
            stride: As in `subsample_label`, like `start`.
            start: Row and column of the first label; None takes `stride // 2`.
            void_label: The label of what lies outside the image.
            flipped: Whether the crop was flipped from left to right.
        """
        first = stride // 2 if start is None else start
        width, height = self.size
        columns, rows = np.arange(first, width, stride), np.arange(first, height, stride)
        if flipped:
            columns = width - 1 - columns
        x, y, inside = self._source(columns, rows)
        found = np.full(inside.shape, void_label, label.dtype)
        found[inside] = label[y[inside].astype(int), x[inside].astype(int)]
        return found

    def _source(
        self, columns: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns where pixels of the crop come from: x, y, and whether that is in the image."""
        a, b, c, d, e, f = self._matrix
        x, y = columns + 0.5, (rows + 0.5)[:, None]
        source_x, source_y = a * x + b * y + c, d * x + e * y + f
        height, width = self._shape
        inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
        return source_x, source_y, inside


def blur_image(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs an image with a Gaussian, cut off at three standard deviations.

    Outside its border the image continues with the pixels of the border.

    Args:
        image: `(height, width, channels)`, uint8, uint16 or float32.
        sigma: Standard deviation in pixels.
    """
    radius = int(_RADIUS * sigma + 0.5)
    if not radius:
        return image
    distances = np.arange(radius + 1)
    kernel = np.exp(-0.5 * (distances / sigma) ** 2)
    kernel /= kernel[0] + 2 * kernel[1:].sum()
    blurred = image.astype("float32")
    for axis in (0, 1):
        line = np.moveaxis(blurred, axis, 0)
        border = [(radius, radius)] + [(0, 0)] * 2
        padded, size = np.pad(line, border, "edge"), len(line)
        total = padded[radius : radius + size] * np.float32(kernel[0])
        for distance in distances[1:]:
            before, after = radius - distance, radius + distance
            pair = padded[before : before + size] + padded[after : after + size]
            pair *= np.float32(kernel[distance])
            total += pair
        blurred = np.moveaxis(total, 0, axis)
    return _as_type(blurred, image.dtype)


def lose_resolution(image: np.ndarray, factor: float) -> np.ndarray:
    """Scales an image down and up again, bilinearly.

    Args:
        image: `(height, width, channels)`, uint8, uint16 or float32.
        factor: Factor by which it is scaled down, at least 1.
    """
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    if small == (width, height):
        return image

    def shrink_and_enlarge(band: Image.Image) -> Image.Image:
        shrunk = band.resize(small, Image.Resampling.BILINEAR)
        return shrunk.resize((width, height), Image.Resampling.BILINEAR)

    return _map_bands(image, shrink_and_enlarge)


def _map_bands(image: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Applies a function of Pillow to an array, all at once if it is RGB, else by channel."""
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(change(Image.fromarray(image)))
    # Pillow computes with more than 8 bits in float32 only.
    bands = image if image.dtype == np.uint8 else image.astype("float32")
    changed = [np.asarray(change(Image.fromarray(band))) for band in np.moveaxis(bands, 2, 0)]
    return _as_type(np.stack(changed, -1), image.dtype)


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns values of a type, rounded if it is one of integers."""
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)
