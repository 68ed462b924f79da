"""Bilinear resizing to a size known only when the model runs."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.layers.precision import full_precision


def bilinear_resize(images: Any, size: tuple[Any, Any]) -> Any:
    """Resizes images bilinearly with half-pixel centres (PyTorch's `align_corners=False`).

    Args:
        images: `(batch, height, width, channels)`.
        size: `(height, width)` of the result, as numbers or as scalar tensors.

    Returns:
        The resized images, `(batch, *size, channels)`, in the dtype of `images`.
    """
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    # Interpolated in float32: half precision cannot tell positions of a large image apart.
    resized = ops.image.resize(
        full_precision(images), size, interpolation="bilinear", data_format="channels_last"
    )
    return ops.cast(resized, images.dtype)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearResizeLike(keras.layers.Layer):
    """Resizes an image bilinearly to the height and width of another one.

    Shapes:
        Inputs `[images, like]` with images `(batch, height, width, channels)` and like
        `(batch, like_height, like_width, any)`; output
        `(batch, like_height, like_width, channels)`.
    """

    def call(self, inputs: Any) -> Any:
        """Resizes the first input to the size of the second."""
        images, like = inputs
        _, height, width, _ = ops.shape(like)
        return bilinear_resize(images, (height, width))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape that `call` produces."""
        images, like = input_shape
        return (images[0], like[1], like[2], images[3])
