"""3 x 3 convolutions with less arithmetic (Lavin and Gray 2015, "Fast Algorithms for CNNs").

Winograd's F(2 x 2, 3 x 3) computes four outputs by 16 multiplications in place of 36, for the price
of sums before and after. Here all of it is matrix products: small constant matrices, which also do
the padding and the dilation, and one large product for each of the 16.
"""

from typing import Any

import numpy as np
from keras import ops

from pdanet_tf.ops.gradients import call_with_gradient

# What turns four inputs, three taps, and (transposed) two outputs into four numbers.
_INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], "float32")
_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], "float32")
_OUTPUTS = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], "float32")
_KERNEL = np.kron(_TAPS, _TAPS)  # (16, 9)


def winograd_conv(inputs: Any, kernel: Any, dilation_rate: int = 1) -> Any:
    """Convolves as `keras.ops.conv(..., padding="same")` does, to rounding.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(3, 3, channels, filters)`.
        dilation_rate: Distance between the kernel's taps, in positions.

    Returns:
        `(batch, height, width, filters)`.
    """
    outputs = call_with_gradient(_winograd, inputs, kernel, dilation_rate=dilation_rate)
    # Sizes that are known stay known.
    return ops.reshape(outputs, (*ops.shape(inputs)[:3], kernel.shape[-1]))


def _winograd(inputs: Any, kernel: Any, dilation_rate: int) -> tuple[Any, Any]:
    """Convolves; the second result is the gradient's function."""
    kernel = ops.reshape(kernel, (3, 3, inputs.shape[-1], kernel.shape[-1]))

    def gradient(upstream: Any) -> tuple[Any, Any]:
        """Correlates, in the transformed space; then convolves with the mirrored kernel."""
        # Transformed anew: kept, they would take four times the memory of the inputs.
        products = [upstream]
        for row in range(4):
            transformed, changes = (
                _transform(images, matrix, row, dilation_rate, after=products[-1])
                for images, matrix in ((inputs, _INPUTS), (upstream, _OUTPUTS))
            )
            products.append(ops.matmul(ops.transpose(transformed, (0, 2, 1)), changes))
        for_kernel = ops.reshape(ops.concatenate(products[1:]), (16, -1))
        for_kernel = ops.reshape(ops.matmul(_KERNEL.T, for_kernel), kernel.shape)
        for_inputs = _convolve(upstream, kernel, dilation_rate, for_kernel, mirrored=True)
        return for_inputs, for_kernel

    return _convolve(inputs, kernel, dilation_rate, inputs), gradient


def _convolve(
    inputs: Any, kernel: Any, dilation_rate: int, after: Any, mirrored: bool = False
) -> Any:
    """Convolves; with `mirrored` by the kernel that leads from outputs back to inputs.

    It is not begun before `after` is known.
    """
    batch, height, width, _ = ops.shape(inputs)
    matrix = _known_after(after) * (_KERNEL[:, ::-1] if mirrored else _KERNEL)
    taps = ops.reshape(ops.matmul(matrix, ops.reshape(kernel, (9, -1))), (4, 4, *kernel.shape[2:]))
    if mirrored:
        taps = ops.transpose(taps, (0, 1, 3, 2))
    filters = taps.shape[-1]
    products = [taps]
    for row in range(4):
        transformed = _transform(inputs, _INPUTS, row, dilation_rate, after=products[-1])
        products.append(ops.matmul(transformed, taps[row]))
    rows, columns = _tiles(height, dilation_rate), _tiles(width, dilation_rate)
    # The two outputs of a tile lie `dilation_rate` apart: first along rows, then along columns.
    # Converters take transpositions of few axes only.
    lines = (batch * rows * dilation_rate, columns, dilation_rate * filters)
    outputs = [
        ops.stack(
            [
                ops.reshape(value, lines)
                for value in _sum(by_row[0], by_row[1], by_row[2], by_row[3])
            ],
            axis=2,
        )
        for by_row in _sum(*products[1:])
    ]
    bands = (batch * rows, dilation_rate * columns * 2 * dilation_rate * filters)
    outputs = ops.stack([ops.reshape(band, bands) for band in outputs], axis=1)
    sides = (2 * rows * dilation_rate, 2 * columns * dilation_rate)
    return ops.reshape(outputs, (batch, *sides, filters))[:, :height, :width]


def _known_after(tensor: Any) -> Any:
    """Returns a 1 that is not known before the tensor is.

    A graph computes what it can as soon as it can: all transformed kernels before the first
    layer, all rows of all tiles at once. What is multiplied by this waits for its turn, so that
    it is not held in the meantime.
    """
    first = ops.reshape(tensor, (-1,))[:1]  # nothing where the batch is empty
    return 1 - ops.cast(ops.any(ops.isnan(first)), "float32")


def _sum(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
    """Turns the four numbers of a tile's row, or column, into its two outputs."""
    return a + b + c, b - c - d


def _tiles(side: Any, dilation_rate: int) -> Any:
    """Returns how many pairs of outputs cover a side, for each of the interleaved images."""
    return (side + 2 * dilation_rate - 1) // (2 * dilation_rate)


def _transform(images: Any, matrix: np.ndarray, row: int, dilation_rate: int, after: Any) -> Any:
    """Transforms every tile; returns one row of four numbers: `(4, batch * tiles, channels)`.

    `matrix` is (4, values of a tile's side): four inputs, of which the first is one tap before the
    tile's first output, or two outputs. It is not begun before `after` is known.
    """
    batch, height, width, channels = ops.shape(images)
    vertical = _known_after(after) * _tile_matrix(height, matrix[row : row + 1], dilation_rate)[0]
    horizontal = _tile_matrix(width, matrix, dilation_rate)
    tiles = ops.matmul(vertical, ops.reshape(images, (batch, height, width * channels)))
    tiles = ops.reshape(tiles, (1, batch * ops.shape(vertical)[0], width, channels))
    return ops.reshape(ops.matmul(horizontal[:, None], tiles), (4, -1, channels))


def _tile_matrix(side: Any, matrix: np.ndarray, dilation_rate: int) -> Any:
    """Returns what transforms all tiles along a side: `(numbers, tiles * dilation_rate, side)`.

    `matrix` is (numbers, values of a tile's side).

    Dilation splits a line into as many interleaved ones: tile t of line r begins at position
    `2 * t * dilation_rate + r`. Columns of positions outside, which are padding, are left out.
    """
    values = matrix.shape[1]
    first = -dilation_rate if values == 4 else 0
    place = ops.arange(_tiles(side, dilation_rate) * dilation_rate, dtype="int32")
    start = place // dilation_rate * (2 * dilation_rate) + place % dilation_rate + first
    position = ops.arange(side, dtype="int32")
    offsets = dilation_rate * np.arange(values, dtype="int32")[:, None, None]
    # (values, tiles * dilation_rate, side): which value of which tile a position is.
    is_value = ops.equal(position[None, None, :] - start[None, :, None], offsets)
    flat = ops.reshape(ops.cast(is_value, "float32"), (values, -1))
    shape = (matrix.shape[0], ops.shape(place)[0], ops.shape(position)[0])
    return ops.reshape(ops.matmul(matrix, flat), shape)
