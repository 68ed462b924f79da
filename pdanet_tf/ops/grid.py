"""The position of feature cells in the image that they were computed from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CellGrid:
    """The pixels on which the cells of a row or column of features are centred.

    The receptive field of cell i is centred on pixel `first + i * stride`. The centre of pixel 0
    is at 0. The grid of the image itself is `CellGrid()`.

    Attributes:
        stride: Distance between two cells, in pixels.
        first: Centre of the first cell, in pixels: an integer, or an integer plus one half.
    """

    stride: int = 1
    first: float = 0.0

    def after(
        self, kernel_size: int = 1, strides: int = 1, padding: int = 0, dilation_rate: int = 1
    ) -> "CellGrid":
        """Returns the grid of the outputs of a convolution or a pooling layer.

        Args:
            kernel_size: Side of the kernel.
            strides: Stride.
            padding: Rows added above and columns added to the left of the features.
            dilation_rate: Distance between the kernel's taps, in cells.
        """
        middle = dilation_rate * (kernel_size - 1) / 2
        return CellGrid(self.stride * strides, self.first + self.stride * (middle - padding))

    def relative_to(self, finer: "CellGrid") -> "CellGrid":
        """Returns this grid in units of the cells of a finer grid instead of pixels."""
        return CellGrid(self.stride // finer.stride, (self.first - finer.first) / finer.stride)
