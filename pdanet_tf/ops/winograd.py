"""3 x 3 convolutions with less arithmetic (Lavin and Gray 2015, "Fast Algorithms for CNNs").

Winograd's F(2 x 2, 3 x 3) computes a tile of four outputs with 16 multiplications instead of 36, at
the cost of sums before and after. Everything here is a matrix product: small constant matrices
transform the tiles and also do the padding and the dilation, and one large product for each of the
16 multiplications mixes the channels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.gradients import call_with_gradient

# Matrices of F(2, 3): they transform four inputs, three taps and (transposed) two outputs into
# four values each.
_INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], "float32")
_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], "float32")
_OUTPUTS = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], "float32")
_KERNEL = np.kron(_TAPS, _TAPS)  # (16, 9)


def winograd_conv(inputs: Tensor, kernel: Tensor, dilation_rate: int = 1) -> Tensor:
    """Computes `keras.ops.conv(inputs, kernel, padding="same")`, equal to rounding.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(3, 3, channels, filters)`.
        dilation_rate: Distance between the kernel's taps, in positions.

    Returns:
        `(batch, height, width, filters)`.
    """
    outputs = call_with_gradient(_winograd, inputs, kernel, dilation_rate=dilation_rate)
    # Restores the static sizes, which the call loses.
    return ops.reshape(outputs, (*ops.shape(inputs)[:3], kernel.shape[-1]))


def _winograd(
    inputs: Tensor, kernel: Tensor, dilation_rate: int
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Convolves; returns the outputs and the gradient function."""
    kernel = ops.reshape(kernel, (3, 3, inputs.shape[-1], kernel.shape[-1]))

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the gradients of the inputs and of the kernel.

        The kernel's gradient is a correlation, computed in the transformed space; that of the
        inputs is a convolution with the mirrored kernel.
        """
        # The inputs are transformed again, because storing the transformed ones would take four
        # times the memory of the inputs.
        of_inputs = _TileTransform.for_images(inputs, _INPUTS, dilation_rate)
        of_outputs = _TileTransform.for_images(upstream, _OUTPUTS, dilation_rate)
        products = [upstream]
        for row in range(4):
            delay = _one_after(products[-1])
            transformed = of_inputs.apply(inputs, row, delay)
            upstream_transformed = of_outputs.apply(upstream, row, delay)
            products.append(ops.matmul(ops.transpose(transformed, (0, 2, 1)), upstream_transformed))
        kernel_gradient = ops.reshape(ops.concatenate(products[1:]), (16, -1))
        kernel_gradient = ops.reshape(ops.matmul(_KERNEL.T, kernel_gradient), kernel.shape)
        # The upstream gradient has the size of the inputs.
        inputs_gradient = _convolve(
            upstream, kernel, of_inputs, wait_for=kernel_gradient, mirrored=True
        )
        return inputs_gradient, kernel_gradient

    of_inputs = _TileTransform.for_images(inputs, _INPUTS, dilation_rate)
    return _convolve(inputs, kernel, of_inputs, wait_for=inputs), gradient


def _convolve(
    inputs: Tensor,
    kernel: Tensor,
    transform: "_TileTransform",
    wait_for: Tensor,
    mirrored: bool = False,
) -> Tensor:
    """Convolves after `wait_for` has been computed.

    With `mirrored`, the kernel is mirrored and its channels and filters are swapped, which maps
    gradients of the outputs to gradients of the inputs.
    """
    matrix = _one_after(wait_for) * (_KERNEL[:, ::-1] if mirrored else _KERNEL)
    taps = ops.reshape(ops.matmul(matrix, ops.reshape(kernel, (9, -1))), (4, 4, *kernel.shape[2:]))
    if mirrored:
        taps = ops.transpose(taps, (0, 1, 3, 2))
    filters = taps.shape[-1]
    products = [taps]
    for row, row_taps in enumerate(ops.unstack(taps, 4)):
        transformed = transform.apply(inputs, row, _one_after(products[-1]))
        products.append(ops.matmul(transformed, row_taps))
    # The two outputs of a tile are `dilation_rate` positions apart. They are interleaved along rows
    # first and along columns afterwards, because converters support transpositions of few axes.
    batch, rate = transform.batch, transform.dilation_rate
    rows, columns = _tiles(transform.height, rate), _tiles(transform.width, rate)
    lines = (transform.lines, columns, rate * filters)
    outputs = [
        ops.stack(
            [ops.reshape(value, lines) for value in _sum(*ops.unstack(by_row, 4))],
            axis=2,
        )
        for by_row in _sum(*products[1:])
    ]
    bands = (batch * rows, rate * columns * 2 * rate * filters)
    outputs = ops.stack([ops.reshape(band, bands) for band in outputs], axis=1)
    outputs = ops.reshape(outputs, (batch, 2 * rows * rate, 2 * columns * rate, filters))
    return outputs[:, : transform.height, : transform.width]


def _one_after(tensor: Tensor) -> Tensor:
    """Returns 1.0 with a data dependency on `tensor`, which delays whatever is multiplied by it.

    A graph runs every operation as soon as its inputs exist: it would transform the kernels of
    all layers before the first layer and all rows of all tiles at once, and keep the results in
    memory until they are used.
    """
    first = ops.reshape(tensor, (-1,))[:1]  # empty if the batch is empty
    return 1 - ops.cast(ops.any(ops.isnan(first)), "float32")


def _sum(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Transforms the four values of a row or column of a tile into its two outputs."""
    return a + b + c, b - c - d


def _tiles(side: int | Tensor, dilation_rate: int) -> int | Tensor:
    """Returns the number of tiles that cover a side of each of the interleaved images."""
    return (side + 2 * dilation_rate - 1) // (2 * dilation_rate)


class _TileTransform(NamedTuple):
    """The matrices that transform the tiles of images of one size.

    Every matrix and every size is computed once for all rows: each operation of a graph costs time
    before the first step, and a model has dozens of convolutions.

    Attributes:
        batch: Number of images.
        height: Height of the images.
        width: Width of the images.
        dilation_rate: Distance between the kernel's taps, in positions.
        vertical: For each of the four rows of a transformed tile, the matrix for the rows of the
            image, `(tile_rows * dilation_rate, height)`.
        horizontal: The matrices for the columns, `(4, 1, tile_columns * dilation_rate, width)`.
        lines: Number of rows of tiles of all images, `batch * tile_rows * dilation_rate`.
    """

    batch: int | Tensor
    height: int | Tensor
    width: int | Tensor
    dilation_rate: int
    vertical: Sequence[Tensor]
    horizontal: Tensor
    lines: int | Tensor

    @classmethod
    def for_images(cls, images: Tensor, matrix: np.ndarray, dilation_rate: int) -> "_TileTransform":
        """Returns the transform of `images`, `(batch, height, width, channels)`.

        `matrix` is `_INPUTS` or `_OUTPUTS`, (4, values along a tile's side). The first of four
        inputs is one tap before the tile's first output.
        """
        batch, height, width, _ = ops.shape(images)
        vertical = ops.unstack(_tile_matrix(height, matrix, dilation_rate), 4)
        horizontal = _tile_matrix(width, matrix, dilation_rate)[:, None]
        lines = batch * _tiles(height, dilation_rate) * dilation_rate
        return cls(batch, height, width, dilation_rate, vertical, horizontal, lines)

    def apply(self, images: Tensor, row: int, delay: Tensor) -> Tensor:
        """Returns one row of the 4 x 4 values of every transformed tile.

        Args:
            images: `(batch, height, width, channels)`.
            row: Index of the row, 0 to 3.
            delay: The number 1.0, see `_one_after`.

        Returns:
            `(4, batch * tiles, channels)`.
        """
        channels = images.shape[-1]
        tiles = ops.matmul(
            delay * self.vertical[row],
            ops.reshape(images, (self.batch, self.height, self.width * channels)),
        )
        tiles = ops.reshape(tiles, (1, self.lines, self.width, channels))
        return ops.reshape(ops.matmul(self.horizontal, tiles), (4, -1, channels))


def _tile_matrix(side: int | Tensor, matrix: np.ndarray, dilation_rate: int) -> Tensor:
    """Returns the matrices that transform all tiles along a side.

    Dilation splits a line into `dilation_rate` interleaved lines: tile t of line r starts at
    position `2 * t * dilation_rate + r`. The matrices have no columns for padding.

    Args:
        side: Number of positions, `height` or `width`.
        matrix: (rows, values along a tile's side).
        dilation_rate: Distance between the kernel's taps, in positions.

    Returns:
        `(rows, tiles * dilation_rate, side)`.
    """
    values = matrix.shape[1]
    first = -dilation_rate if values == 4 else 0
    tile = ops.arange(_tiles(side, dilation_rate) * dilation_rate, dtype="int32")
    start = tile // dilation_rate * (2 * dilation_rate) + tile % dilation_rate + first
    position = ops.arange(side, dtype="int32")
    offsets = dilation_rate * np.arange(values, dtype="int32")[:, None, None]
    # (values, tiles * dilation_rate, side): whether a position is this value of this tile.
    is_value = ops.equal(position[None, None, :] - start[None, :, None], offsets)
    flat = ops.reshape(ops.cast(is_value, "float32"), (values, -1))
    shape = (matrix.shape[0], ops.shape(tile)[0], ops.shape(position)[0])
    return ops.reshape(ops.matmul(matrix, flat), shape)
