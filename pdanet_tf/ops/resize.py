"""Bilinear resizing to a size that may be known only at run time."""

from fractions import Fraction
from typing import Any

from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.precision import full_precision


def bilinear_resize(
    images: Tensor,
    size: tuple[int | Tensor, int | Tensor],
    grid: CellGrid | None = None,
    align_corners: bool = False,
    extend: bool = True,
) -> Tensor:
    """Resizes images bilinearly, by default with half-pixel centres.

    It is computed as two matrix products, one per direction. This supports sizes that are known
    only at run time on every backend, unlike `keras.ops.image.resize`.

    Args:
        images: `(batch, height, width, channels)`.
        size: `(height, width)` of the result, as integers or as scalar tensors.
        grid: Position of the cells of `images` in the result; cells outside it are cropped. None
            stretches the images over the whole result.
        align_corners: Whether the centres of the outermost cells are put on those of the outermost
            pixels, as by PyTorch's `align_corners=True`; for images without a grid. By default
            their edges are, as by `align_corners=False`.
        extend: See `sampling_matrix`.

    Returns:
        The resized images, `(batch, *size, channels)`, in the dtype of `images`.
    """
    # Sizes that are known only at run time are tensors, which cannot be compared here.
    known = all(isinstance(side, int) for side in size)
    if known and tuple(images.shape[1:3]) == tuple(size) and grid in (None, CellGrid()):
        return images
    # Half precision cannot represent all positions of a large image.
    precise = full_precision(images)
    _, height, width, _ = ops.shape(images)
    if align_corners:
        vertical = _corner_matrix(height, size[0], precise.dtype)
        horizontal = _corner_matrix(width, size[1], precise.dtype)
    else:
        vertical = interpolation_matrix(height, size[0], precise.dtype, grid, extend=extend)
        horizontal = interpolation_matrix(width, size[1], precise.dtype, grid, extend=extend)
    return _resample(precise, vertical, horizontal, size[0], images.dtype)


def bilinear_rescale(images: Tensor, scale: Fraction) -> Tensor:
    """Resizes images bilinearly by an exact factor, with half-pixel centres.

    Pixel i of the result is centred at (i + 1/2) / scale pixels of the image, also if the rounded
    size of the result is not that multiple of the image's, as by PyTorch's
    `interpolate(scale_factor=...)`.

    Args:
        images: `(batch, height, width, channels)`.
        scale: The factor.

    Returns:
        The resized images, `(batch, floor(scale * height), floor(scale * width), channels)`, in the
        dtype of `images`.
    """
    precise = full_precision(images)
    matrices, new_sides = [], []
    for side in ops.shape(images)[1:3]:
        new_sides.append(side * scale.numerator // scale.denominator)
        centres = (2 * ops.arange(new_sides[-1], dtype="int32") + 1) * scale.denominator
        matrices.append(sampling_matrix(centres, scale.numerator, side, CellGrid(), precise.dtype))
    vertical, horizontal = matrices
    return _resample(precise, vertical, horizontal, new_sides[0], images.dtype)


def _resample(
    images: Tensor, vertical: Tensor, horizontal: Tensor, rows: int | Tensor, dtype: Any
) -> Tensor:
    """Multiplies the columns and the rows of images by an interpolation matrix each."""
    batch, height, width, channels = ops.shape(images)
    resized = ops.matmul(vertical, ops.reshape(images, (batch, height, width * channels)))
    resized = ops.reshape(resized, (batch, rows, width, channels))
    return ops.cast(ops.matmul(horizontal, resized), dtype)


def interpolation_matrix(
    size: int | Tensor,
    new_size: int | Tensor,
    dtype: Any,
    grid: CellGrid | None = None,
    length: int | Tensor | None = None,
    extend: bool = True,
) -> Tensor:
    """Returns the (new_size, size) matrix that interpolates a line of `size` cells linearly.

    Args:
        size: Number of cells.
        new_size: Number of outputs, which cover the image from end to end.
        dtype: Dtype of the matrix, by name or as the backend's object.
        grid: Position of the cells in the image; None stretches them over it.
        length: Length of the image in pixels; None for one output per pixel.
        extend: See `sampling_matrix`.
    """
    if grid is None:
        grid, length = CellGrid(), size
    elif length is None:
        length = new_size
    centres = (2 * ops.arange(new_size, dtype="int32") + 1) * length
    return sampling_matrix(centres, new_size, size, grid, dtype, extend)


def _corner_matrix(size: int | Tensor, new_size: int | Tensor, dtype: Any) -> Tensor:
    """Returns the (new_size, size) matrix that interpolates with `align_corners=True`.

    Output i is at i * (size - 1) / (new_size - 1) cells. A single output is the first cell.
    """
    unit = ops.maximum(new_size - 1, 1)
    positions = ops.arange(new_size, dtype="int32")[:, None] * (size - 1)
    distances = ops.abs(positions - ops.arange(size, dtype="int32")[None, :] * unit)
    return ops.relu(1 - ops.cast(distances, dtype) / ops.cast(unit, dtype))


def sampling_matrix(
    centres: Tensor,
    unit: int | Tensor,
    size: int | Tensor,
    grid: CellGrid,
    dtype: Any,
    extend: bool = True,
) -> Tensor:
    """Returns the (outputs, size) matrix that interpolates `size` cells linearly at any positions.

    Models, the predictor and exported models all use this function to place logits in the image.

    Args:
        centres: Centre of each output, `(outputs,)`, int32: its distance from the image's edge, in
            units of 1 / (2 * unit) pixels. They are integers because float32 cannot represent
            all positions in a large image.
        unit: See `centres`.
        size: Number of cells.
        grid: Position of the cells in the image.
        dtype: Dtype of the matrix, by name or as the backend's object.
        extend: Whether outputs before the first cell take the value of the first cell, and those
            after the last cell that of the last. Otherwise they fade to zero within a stride, as
            the outputs of a transposed convolution with a bilinear kernel do.
    """
    # In units of 1 / scale cells. The centre of pixel 0 is half a pixel from the edge.
    scale = 2 * unit * grid.stride
    positions = centres - unit * (1 + round(2 * grid.first))
    if extend:
        positions = ops.clip(positions, 0, (size - 1) * scale)
    distances = ops.abs(positions[:, None] - ops.arange(size, dtype="int32")[None, :] * scale)
    return ops.relu(1 - ops.cast(distances, dtype) / ops.cast(scale, dtype))
