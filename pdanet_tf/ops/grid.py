"""Where the cells of features lie in the image that they were computed from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CellGrid:
    """Cell i of a row or column of features is centred on pixel `first + i * stride`.

    That is the centre of its receptive field. The centre of pixel 0 is at 0. The image itself has
    the grid `CellGrid()`.

    Attributes:
        stride: Distance between two cells, in pixels.
        first: Centre of the first cell, in pixels: a whole number, or one and a half.
    """

    stride: int = 1
    first: float = 0.0

    def after(
        self, kernel_size: int = 1, strides: int = 1, padding: int = 0, dilation_rate: int = 1
    ) -> "CellGrid":
        """Returns the grid behind a convolution or a pool.

        Args:
            kernel_size: Side of the kernel.
            strides: Stride.
            padding: Rows above and columns to the left that are added to the features.
            dilation_rate: Distance between the kernel's taps, in cells.
        """
        middle = dilation_rate * (kernel_size - 1) / 2
        return CellGrid(self.stride * strides, self.first + self.stride * (middle - padding))

    def relative_to(self, finer: "CellGrid") -> "CellGrid":
        """Returns where the cells lie among those of a finer grid, whose cells count as pixels."""
        return CellGrid(self.stride // finer.stride, (self.first - finer.first) / finer.stride)
