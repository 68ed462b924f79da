"""Inference on one resized image by sliding windows."""

import dataclasses
import itertools
import math
import typing
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import sampling_matrix

Tile = tuple[slice, slice]  # the rows and columns of a part of the result
_KEPT_MATRICES = 64


class WindowedImage(typing.Protocol):
    """An image of which windows are read: an array, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""

    def __getitem__(self, window: Tile, /) -> np.ndarray:
        """Returns a window `(rows, columns, channels)`."""


class View:
    """An image at one size, which a model is applied to in windows.

    The windows of one row, and their mirror images, are one batch. The batch is computed for the
    first tile that overlaps it, and deleted when the tiles are below it.

    Args:
        image: The resized image, `(height, width, channels)`: an array, or what reads windows.
        protocol: The windows, and whether they are also mirrored.
        num_classes: Number of classes.
        compute_logits: A function from pixels `(batch, height, width, channels)` to logits.
        grid: Where the cells of the logits lie in a window; None stretches them over it.
    """

    def __init__(
        self,
        image: np.ndarray | WindowedImage,
        protocol: Protocol,
        num_classes: int,
        compute_logits: Callable[..., Tensor],
        grid: CellGrid | None,
    ) -> None:
        self.image = image
        self.grid = grid
        windows = protocol.windows((image.shape[0], image.shape[1]))
        self.bands = [list(band) for _, band in itertools.groupby(windows, lambda pair: pair[0])]
        self.flip = protocol.flip
        self.num_classes = num_classes
        self.compute_logits = compute_logits
        self._logits: dict[int, np.ndarray] = {}
        self._matrices: OrderedDict[tuple[int, int, int, bool, int], np.ndarray] = OrderedDict()
        self._spans: dict[tuple[int, int], list[Span]] = {}

    @property
    def is_single(self) -> bool:
        """Whether there is one window and no mirror image, so that nothing is averaged."""
        return sum(map(len, self.bands)) == 1 and not self.flip

    def logits(
        self, tile: Tile, size: tuple[int, int], interpolate: Callable[..., Tensor]
    ) -> np.ndarray:
        """Returns the logits of a tile, if `is_single`.

        The arguments are those of `probabilities`.
        """
        ((_, *part),) = self._parts(tile, size)
        return ops.convert_to_numpy(interpolate(*part))[0]

    def probabilities(
        self, tile: Tile, size: tuple[int, int], compute_probabilities: Callable[..., Tensor]
    ) -> np.ndarray:
        """Returns the probabilities of a tile, averaged over windows and their mirror images.

        Args:
            tile: The tile's rows and columns. Tiles come from the top to the bottom.
            size: (height, width) of the whole result.
            compute_probabilities: A function from logits, and the matrices that interpolate their
                rows and columns, to probabilities.

        Returns:
            `(rows, columns, num_classes)`, float32.
        """
        sides = [side.stop - side.start for side in tile]
        total = np.zeros((*sides, self.num_classes), "float32")
        counts = np.zeros((*sides, 1), "float32")
        for place, *part in self._parts(tile, size):
            total[place] += ops.convert_to_numpy(compute_probabilities(*part))[0]
            counts[place] += 1
        total /= counts
        return total

    def _parts(
        self, tile: Tile, size: tuple[int, int]
    ) -> Iterator[tuple[Tile, np.ndarray, np.ndarray, np.ndarray]]:
        """Yields the windows that overlap a tile.

        Yields:
            The pixels (rows, columns) of the tile that the window covers, the logits of the window
            that they depend on, and the matrices that interpolate their rows and columns.
        """
        rows, columns = tile
        for index, vertical in enumerate(self.spans(0, size)):
            down_place = vertical.within(rows)
            if down_place.start == down_place.stop:
                self._skip(index)
                continue
            logits = self._band_logits(index)
            down, cells_down = self._interpolation(vertical, down_place, logits.shape[1])
            for number, horizontal in enumerate(self.spans(1, size)):
                across_place = horizontal.within(columns)
                if across_place.start == across_place.stop:
                    continue
                place = shift(down_place, rows.start), shift(across_place, columns.start)
                views = [(number, horizontal)]
                if self.flip:
                    mirrored = len(self.bands[index]) + number
                    views.append((mirrored, horizontal.mirrored()))
                for number_of_view, span in views:
                    across, cells_across = self._interpolation(span, across_place, logits.shape[2])
                    part = logits[number_of_view, cells_down, cells_across]
                    yield place, part[None], down, across

    def _interpolation(self, span: "Span", outputs: slice, cells: int) -> tuple[np.ndarray, slice]:
        """Returns the matrix that interpolates outputs of a span, and the cells that it reads."""
        key = (span.window, span.start, span.num_outputs, span.is_mirrored, cells)
        if key not in self._matrices:
            self._matrices[key] = ops.convert_to_numpy(span.matrix(cells, self.grid))
            if len(self._matrices) > _KEPT_MATRICES:
                self._matrices.popitem(last=False)
        self._matrices.move_to_end(key)
        matrix = self._matrices[key][shift(outputs, span.outputs.start)]
        read = np.flatnonzero(matrix.any(axis=0))
        needed = slice(int(read[0]), int(read[-1]) + 1)
        return matrix[:, needed], needed

    def spans(self, axis: int, size: tuple[int, int]) -> list["Span"]:
        """Returns the spans of the windows of a column (axis 0) or of a row (axis 1)."""
        key = (axis, size[axis])
        if key not in self._spans:
            first = [band[0] for band in self.bands] if axis == 0 else self.bands[0]
            length = self.image.shape[axis]
            self._spans[key] = [Span.of_window(pair[axis], length, size[axis]) for pair in first]
        return self._spans[key]

    def _skip(self, index: int) -> None:
        """Deletes the logits of a row of windows that does not overlap the present tile."""
        self._logits.pop(index, None)

    def _band_logits(self, index: int) -> Any:
        """Returns the logits of the windows of a row, then those of their mirror images.

        The axes are (windows, rows, columns, num_classes).
        """
        if index not in self._logits:
            self._logits[index] = self.compute(np.stack(self.windows(index)))
        return self._logits[index]

    def windows(self, index: int) -> list[np.ndarray]:
        """Returns the pixels of the windows of a row, then those of their mirror images."""
        windows = [self.image[window] for window in self.bands[index]]
        return windows + [window[:, ::-1] for window in windows] if self.flip else windows

    def set_logits(self, index: int, logits: np.ndarray) -> None:
        """Sets the logits of a row of windows, which were computed elsewhere."""
        self._logits[index] = logits

    def compute(self, windows: np.ndarray) -> np.ndarray:
        """Returns the logits of windows `(batch, height, width, channels)`."""
        return ops.convert_to_numpy(self.compute_logits(windows.astype("float32")))


def compute_together(views: Sequence[View]) -> None:
    """Computes the logits of several images of one size together, if they have one row of windows.

    Args:
        views: Views of the images, with one protocol and one model.
    """
    first = views[0]
    if len(views) == 1 or len(first.bands) > 1:
        return
    windows = [window for view in views for window in view.windows(0)]
    logits = first.compute(np.stack(windows))
    for view, part in zip(views, np.split(logits, len(views)), strict=True):
        view.set_logits(0, part)


@dataclass(frozen=True)
class Span:
    """The outputs that a window covers along one axis, and their positions in the window.

    Attributes:
        window: Length of the window in pixels.
        start: First pixel of the window.
        outputs: The outputs whose centres are in the window.
        centres: Distance of the centre of each output from the window's edge, in units of
            1 / (2 * num_outputs) pixels.
        num_outputs: Number of outputs along the whole axis.
        is_mirrored: Whether the positions are those in the mirror image of the window.
    """

    window: int
    start: int
    outputs: slice
    centres: np.ndarray
    num_outputs: int
    is_mirrored: bool = False

    @classmethod
    def of_window(cls, window: slice, length: int, num_outputs: int) -> "Span":
        """Returns the span of a window on an axis of `length` pixels and `num_outputs` outputs."""
        centres = (2 * np.arange(num_outputs, dtype="int64") + 1) * length
        edges = (2 * num_outputs * window.start, 2 * num_outputs * window.stop)
        start, stop = np.searchsorted(centres, edges)
        outputs = slice(int(start), int(stop))
        return cls(
            window.stop - window.start,
            window.start,
            outputs,
            centres[outputs] - edges[0],
            num_outputs,
        )

    def within(self, outputs: slice) -> slice:
        """Returns the outputs of the span that are in a range of outputs."""
        start = max(self.outputs.start, outputs.start)
        return slice(start, max(start, min(self.outputs.stop, outputs.stop)))

    def mirrored(self) -> "Span":
        """Returns the same outputs at their positions in the mirror image of the window."""
        centres = 2 * self.num_outputs * self.window - self.centres
        return dataclasses.replace(self, centres=centres, is_mirrored=True)

    def matrix(self, size: int, grid: CellGrid | None) -> Tensor:
        """Returns the (outputs, size) matrix that interpolates `size` cells of the window.

        `grid` places the cells in the window; None stretches them over it.
        """
        centres = self.centres
        if grid is None:
            common = math.gcd(size, self.window)
            centres = centres * (size // common)
            stride = self.window // common
            grid = CellGrid(stride, (stride - 1) / 2)
        return sampling_matrix(centres.astype("int32"), self.num_outputs, size, grid, "float32")


def shift(outputs: slice, origin: int) -> slice:
    """Returns a range of outputs relative to `origin`."""
    return slice(outputs.start - origin, outputs.stop - origin)
