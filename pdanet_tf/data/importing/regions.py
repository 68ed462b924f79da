"""Regions of an image: polygons, ellipses, run lengths and bitmaps, as masks of pixels.

A pixel belongs to a region if its centre does. The pixel in row r and column c covers r to r + 1
and c to c + 1, so its centre is at (r + 0.5, c + 0.5); this is the convention of COCO, LabelMe,
CVAT and YOLO. Two polygons that share an edge neither overlap nor leave a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_LONGEST_SIDE = 2**24  # keeps coordinates within what an array can index


@dataclass(frozen=True)
class Mask:
    """The pixels of a region within its bounding box.

    Attributes:
        top: First row.
        left: First column.
        pixels: `(rows, columns)`, bool.
    """

    top: int
    left: int
    pixels: np.ndarray

    def paint(self, label: np.ndarray, value: int) -> None:
        """Sets the pixels of the region in a label map `(height, width)` to a value."""
        rows, columns = self.pixels.shape
        label[self.top : self.top + rows, self.left : self.left + columns][self.pixels] = value


class Region(Protocol):
    """A part of an image."""

    def mask(self, size: tuple[int, int]) -> Mask:
        """Returns the pixels of the region in an image of `size`, a (height, width)."""

    def bounds(self) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right."""


@dataclass(frozen=True)
class Polygon:
    """A closed polygon. Where it crosses itself, the even-odd rule decides.

    Attributes:
        points: `(count, 2)`, x and y in pixels.
    """

    points: np.ndarray

    def bounds(self) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right."""
        (left, top), (right, bottom) = self.points.min(0).tolist(), self.points.max(0).tolist()
        return top, left, bottom, right

    def mask(self, size: tuple[int, int]) -> Mask:
        """Returns the pixels whose centre is inside.

        In each row, every edge that crosses the row's centre flips the pixels to its right.
        """
        points = self.points.clip(-_LONGEST_SIDE, _LONGEST_SIDE)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        first_row, last_row = _centres(top, bottom, size[0])
        first_column, last_column = _centres(left, right, size[1])
        columns = last_column - first_column
        flips = np.zeros((last_row - first_row, columns + 1), "uint8")
        for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, 0), strict=True):
            start, stop = _centres(min(y, next_y), max(y, next_y), size[0])
            rows = np.arange(start, stop)
            if rows.size:
                crossings = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
                positions = np.ceil(crossings - 0.5).astype("int64") - first_column
                flips[rows - first_row, positions.clip(0, columns)] ^= 1
        inside = np.bitwise_xor.accumulate(flips[:, :columns], axis=1)
        return Mask(first_row, first_column, inside.astype(bool))


@dataclass(frozen=True)
class Ellipse:
    """An ellipse whose axes are parallel to those of the image; a circle has equal radii.

    Attributes:
        x: Column of the centre, in pixels.
        y: Row of the centre.
        x_radius: Half of the width.
        y_radius: Half of the height.
    """

    x: float
    y: float
    x_radius: float
    y_radius: float

    def bounds(self) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right."""
        return (
            self.y - self.y_radius,
            self.x - self.x_radius,
            self.y + self.y_radius,
            self.x + self.x_radius,
        )

    def mask(self, size: tuple[int, int]) -> Mask:
        """Returns the pixels whose centre is inside."""
        top, left, bottom, right = self.bounds()
        first_row, last_row = _centres(top, bottom, size[0])
        first_column, last_column = _centres(left, right, size[1])
        down = (np.arange(first_row, last_row) + 0.5 - self.y) / (self.y_radius or 1)
        across = (np.arange(first_column, last_column) + 0.5 - self.x) / (self.x_radius or 1)
        return Mask(first_row, first_column, down[:, None] ** 2 + across**2 < 1)


@dataclass(frozen=True)
class RunLengths:
    """A mask stored as the lengths of runs that are alternately outside and inside.

    Attributes:
        counts: The lengths, `(count,)`, int64; they sum to height x width.
        size: (height, width) of the mask.
        top: Row of the mask in the image.
        left: Column of the mask in the image.
        by_columns: Whether the pixels are in the order of columns, as in COCO.
    """

    counts: np.ndarray
    size: tuple[int, int]
    top: int = 0
    left: int = 0
    by_columns: bool = True

    def bounds(self) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right of the stored mask."""
        return self.top, self.left, self.top + self.size[0], self.left + self.size[1]

    def mask(self, size: tuple[int, int]) -> Mask:
        """Returns the pixels of the runs inside, without those outside the image."""
        pixels = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        pixels = pixels.reshape(self.size, order="F" if self.by_columns else "C")
        return _cropped(pixels, self.top, self.left, size)


@dataclass(frozen=True)
class Bitmap:
    """A mask of which every pixel is stored.

    Attributes:
        pixels: `(rows, columns)`, bool.
        top: Row of the mask in the image.
        left: Column of the mask in the image.
    """

    pixels: np.ndarray
    top: int = 0
    left: int = 0

    def bounds(self) -> tuple[float, float, float, float]:
        """Returns top, left, bottom and right."""
        rows, columns = self.pixels.shape
        return self.top, self.left, self.top + rows, self.left + columns

    def mask(self, size: tuple[int, int]) -> Mask:
        """Returns the pixels without those outside the image."""
        return _cropped(self.pixels, self.top, self.left, size)


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Returns a rectangle; its corners may be given in any order."""
    return Polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float))


def parse_points(values: Sequence[object]) -> np.ndarray:
    """Reads the points of a polygon.

    Args:
        values: x, y, x, y and so on.

    Returns:
        `(count, 2)`, float64.

    Raises:
        ValueError: If a value is not a finite number, the number of values is odd, or there are
            fewer than three points.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise ValueError("has a coordinate that is not a number")
    if len(values) % 2:
        raise ValueError(f"has {len(values)} coordinates, an odd number")
    points = np.array(values, float).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("has a coordinate that is not finite")
    if len(points) < 3:
        raise ValueError(f"has {len(points)} point{'s' if len(points) != 1 else ''}, not 3 or more")
    return points


def check_runs(counts: np.ndarray, size: tuple[int, int]) -> None:
    """Checks that run lengths cover a mask exactly.

    Args:
        counts: The lengths, `(count,)`, int64.
        size: (height, width) of the mask.

    Raises:
        ValueError: If a length is negative, or they do not sum to height x width.
    """
    total = sum(counts.ravel().tolist())  # of Python's integers, which do not wrap around
    if counts.ndim != 1 or (counts < 0).any() or total != size[0] * size[1]:
        raise ValueError(
            f"has run lengths of {total:,} pixels, but a mask of {size[0]} x {size[1]} (height x "
            f"width) has {size[0] * size[1]:,}"
        )


def _centres(low: float, high: float, length: int) -> tuple[int, int]:
    """Returns the range of pixels of a side whose centres are from `low` to before `high`."""
    first, last = (int(np.clip(np.ceil(edge - 0.5), 0, length)) for edge in (low, high))
    return first, max(first, last)


def _cropped(pixels: np.ndarray, top: int, left: int, size: tuple[int, int]) -> Mask:
    row, column = max(top, 0), max(left, 0)
    inside = pixels[row - top : max(size[0] - top, 0), column - left : max(size[1] - left, 0)]
    return Mask(row, column, inside)
