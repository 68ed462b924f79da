"""Bilinear resizing to a size known only when the model runs."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.layers.precision import full_precision


def bilinear_resize(images: Any, size: tuple[Any, Any]) -> Any:
    """Resizes images bilinearly with half-pixel centres (PyTorch's `align_corners=False`).

    It is computed as two matrix products, one per direction: that runs on every backend with
    sizes known only at run time, which `keras.ops.image.resize` refuses.

    Args:
        images: `(batch, height, width, channels)`.
        size: `(height, width)` of the result, as numbers or as scalar tensors.

    Returns:
        The resized images, `(batch, *size, channels)`, in the dtype of `images`.
    """
    # Sizes known only at run time are tensors, which cannot be compared here.
    known = all(isinstance(side, int) for side in size)
    if known and tuple(images.shape[1:3]) == tuple(size):
        return images
    # Half precision cannot tell positions of a large image apart.
    precise = full_precision(images)
    batch, height, width, channels = ops.shape(images)
    vertical = interpolation_matrix(height, size[0], precise.dtype)
    horizontal = interpolation_matrix(width, size[1], precise.dtype)
    resized = ops.matmul(vertical, ops.reshape(precise, (batch, height, width * channels)))
    resized = ops.reshape(resized, (batch, size[0], width, channels))
    return ops.cast(ops.matmul(horizontal, resized), images.dtype)


def interpolation_matrix(size: Any, new_size: Any, dtype: Any) -> Any:
    """Returns the (new_size, size) matrix that interpolates a line of `size` values linearly.

    Positions are exact fractions of whole numbers: in units of 1 / (2 * new_size), the centre of
    output i lies at (2i + 1) * size - new_size.
    """
    unit = 2 * new_size
    centres = (2 * ops.arange(new_size, dtype="int32") + 1) * size - new_size
    centres = ops.clip(centres, 0, (size - 1) * unit)
    distances = ops.abs(centres[:, None] - ops.arange(size, dtype="int32")[None, :] * unit)
    return ops.relu(1 - ops.cast(distances, dtype) / ops.cast(unit, dtype))


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearResizeLike(keras.layers.Layer):
    """Resizes an image bilinearly to the height and width of another one.

    Scores in float32 stay so in models of half precision: there is nothing to be gained.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[images, like]` with images `(batch, height, width, channels)` and like
        `(batch, like_height, like_width, any)`; output
        `(batch, like_height, like_width, channels)`, in the dtype of the first input.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Any) -> Any:
        """Resizes the first input to the size of the second."""
        images, like = inputs
        _, height, width, _ = ops.shape(like)
        return bilinear_resize(images, (height, width))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape that `call` produces."""
        images, like = input_shape
        return (images[0], like[1], like[2], images[3])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        images, like = inputs
        shape = self.compute_output_shape((images.shape, like.shape))
        return keras.KerasTensor(shape, dtype=images.dtype)
