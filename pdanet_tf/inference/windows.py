"""Inference on one resized image by sliding windows."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import sampling_matrix


class View:
    """An image at one size, which a model is applied to in windows.

    The windows of one row, and their mirror images, are one batch. The batch is computed for the
    first strip that overlaps it, and deleted after the last one.

    Args:
        image: The resized image, `(height, width, channels)`.
        protocol: The windows, and whether they are also mirrored.
        num_classes: Number of classes.
        compute_logits: A function from pixels `(batch, height, width, channels)` to logits.
        grid: Where the cells of the logits lie in a window; None stretches them over it.
    """

    def __init__(
        self,
        image: np.ndarray,
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
        self._logits: dict[int, Tensor] = {}

    @property
    def is_single(self) -> bool:
        """Whether there is one window and no mirror image, so that nothing is averaged."""
        return sum(map(len, self.bands)) == 1 and not self.flip

    def logits(
        self, rows: slice, size: tuple[int, int], interpolate: Callable[..., Tensor]
    ) -> np.ndarray:
        """Returns the logits of a strip, if `is_single`.

        The arguments are those of `probabilities`.
        """
        ((_, *part),) = self._parts(rows, size)
        return ops.convert_to_numpy(interpolate(*part))[0]

    def probabilities(
        self, rows: slice, size: tuple[int, int], compute_probabilities: Callable[..., Tensor]
    ) -> np.ndarray:
        """Returns the probabilities of a strip, averaged over windows and their mirror images.

        Args:
            rows: The strip's rows.
            size: (height, width) of the whole result.
            compute_probabilities: A function from logits, and the matrices that interpolate their
                rows and columns, to probabilities.

        Returns:
            `(rows, width, num_classes)`, float32.
        """
        strip = (rows.stop - rows.start, size[1])
        total = np.zeros((*strip, self.num_classes), "float32")
        counts = np.zeros((*strip, 1), "float32")
        for place, *part in self._parts(rows, size):
            total[place] += ops.convert_to_numpy(compute_probabilities(*part))[0]
            counts[place] += 1
        total /= counts
        return total

    def _parts(
        self, rows: slice, size: tuple[int, int]
    ) -> Iterator[tuple[tuple[slice, slice], Tensor, Tensor, Tensor]]:
        """Yields the windows that overlap a strip.

        Yields:
            The pixels (rows, columns) of the strip that the window covers, the logits of the
            window, and the matrices that interpolate their rows and columns.
        """
        height, width = self.image.shape[:2]
        for index, band in enumerate(self.bands):
            vertical = Span.of_window(band[0][0], height, size[0]).within(rows)
            if vertical.outputs.start == vertical.outputs.stop:
                self._logits.pop(index, None)
                continue
            logits = self._band_logits(index)
            down = vertical.matrix(logits.shape[1], self.grid)
            for number, (_, columns) in enumerate(band):
                horizontal = Span.of_window(columns, width, size[1])
                place = vertical.shifted(rows.start), horizontal.outputs
                across = horizontal.matrix(logits.shape[2], self.grid)
                yield place, logits[number][None], down, across
                if self.flip:
                    across = horizontal.mirrored().matrix(logits.shape[2], self.grid)
                    yield place, logits[len(band) + number][None], down, across

    def _band_logits(self, index: int) -> Tensor:
        """Returns the logits of the windows of a row, then those of their mirror images."""
        if index not in self._logits:
            windows = [self.image[window] for window in self.bands[index]]
            if self.flip:
                windows += [window[:, ::-1] for window in windows]
            self._logits[index] = self.compute_logits(np.stack(windows).astype("float32"))
        return self._logits[index]


@dataclass(frozen=True)
class Span:
    """The outputs that a window covers along one axis, and their positions in the window.

    Attributes:
        window: Length of the window in pixels.
        outputs: The outputs whose centres are in the window.
        centres: Distance of the centre of each output from the window's edge, in units of
            1 / (2 * num_outputs) pixels.
        num_outputs: Number of outputs along the whole axis.
    """

    window: int
    outputs: slice
    centres: np.ndarray
    num_outputs: int

    @classmethod
    def of_window(cls, window: slice, length: int, num_outputs: int) -> "Span":
        """Returns the span of a window on an axis of `length` pixels and `num_outputs` outputs."""
        centres = (2 * np.arange(num_outputs, dtype="int64") + 1) * length
        edges = (2 * num_outputs * window.start, 2 * num_outputs * window.stop)
        start, stop = np.searchsorted(centres, edges)
        outputs = slice(int(start), int(stop))
        return cls(window.stop - window.start, outputs, centres[outputs] - edges[0], num_outputs)

    def within(self, outputs: slice) -> "Span":
        """Returns the part of the span in a range of outputs."""
        start = max(self.outputs.start, outputs.start)
        stop = max(start, min(self.outputs.stop, outputs.stop))
        inside = slice(start - self.outputs.start, stop - self.outputs.start)
        return dataclasses.replace(self, outputs=slice(start, stop), centres=self.centres[inside])

    def mirrored(self) -> "Span":
        """Returns the same outputs at their positions in the mirror image of the window."""
        return dataclasses.replace(self, centres=2 * self.num_outputs * self.window - self.centres)

    def shifted(self, origin: int) -> slice:
        """Returns the range of outputs relative to `origin`."""
        return slice(self.outputs.start - origin, self.outputs.stop - origin)

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
