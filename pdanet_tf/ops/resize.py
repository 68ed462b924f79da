"""Bilinear resizing to a size known only when the model runs."""

from typing import Any

from keras import ops

from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.precision import full_precision


def bilinear_resize(images: Any, size: tuple[Any, Any], grid: CellGrid | None = None) -> Any:
    """Resizes images bilinearly with half-pixel centres (PyTorch's `align_corners=False`).

    It is computed as two matrix products, one per direction: that runs on every backend with
    sizes known only at run time, which `keras.ops.image.resize` refuses.

    Args:
        images: `(batch, height, width, channels)`.
        size: `(height, width)` of the result, as numbers or as scalar tensors.
        grid: Where the cells of `images` lie in the result; what lies outside is cut off. None
            stretches the images over the whole result.

    Returns:
        The resized images, `(batch, *size, channels)`, in the dtype of `images`.
    """
    # Sizes known only at run time are tensors, which cannot be compared here.
    known = all(isinstance(side, int) for side in size)
    if known and tuple(images.shape[1:3]) == tuple(size) and grid in (None, CellGrid()):
        return images
    # Half precision cannot tell positions of a large image apart.
    precise = full_precision(images)
    batch, height, width, channels = ops.shape(images)
    vertical = interpolation_matrix(height, size[0], precise.dtype, grid)
    horizontal = interpolation_matrix(width, size[1], precise.dtype, grid)
    resized = ops.matmul(vertical, ops.reshape(precise, (batch, height, width * channels)))
    resized = ops.reshape(resized, (batch, size[0], width, channels))
    return ops.cast(ops.matmul(horizontal, resized), images.dtype)


def interpolation_matrix(
    size: Any, new_size: Any, dtype: Any, grid: CellGrid | None = None, length: Any = None
) -> Any:
    """Returns the (new_size, size) matrix that interpolates a line of `size` cells linearly.

    Args:
        size: Number of cells.
        new_size: Number of outputs, which cover the image from end to end.
        dtype: Dtype of the matrix.
        grid: Where the cells lie in the image; None stretches them over it.
        length: Length of the image in pixels; by default an output is a pixel.
    """
    if grid is None:
        grid, length = CellGrid(), size
    elif length is None:
        length = new_size
    centres = (2 * ops.arange(new_size, dtype="int32") + 1) * length
    return sampling_matrix(centres, new_size, size, grid, dtype)


def sampling_matrix(centres: Any, unit: Any, size: Any, grid: CellGrid, dtype: Any) -> Any:
    """Returns the (outputs, size) matrix that interpolates `size` cells linearly at any places.

    Outputs beyond the first or the last cell take its value. Model, predictor and export place
    logits by this function alone.

    Args:
        centres: Centre of each output, `(outputs,)`, int32: its distance from the image's edge, in
            units of 1 / (2 * unit) pixels. Whole numbers, because float32 cannot tell the
            positions in a large image apart.
        unit: See `centres`.
        size: Number of cells.
        grid: Where the cells lie in the image.
        dtype: Dtype of the matrix.
    """
    # In units of 1 / scale cells. The centre of pixel 0 is half a pixel from the edge.
    scale = 2 * unit * grid.stride
    places = ops.clip(centres - unit * (1 + round(2 * grid.first)), 0, (size - 1) * scale)
    distances = ops.abs(places[:, None] - ops.arange(size, dtype="int32")[None, :] * scale)
    return ops.relu(1 - ops.cast(distances, dtype) / ops.cast(scale, dtype))
