"""Resizing to the size of another input."""

import dataclasses
from typing import Any

import keras
from keras import ops

from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearResizeLike(keras.layers.Layer):
    """Resizes features bilinearly to the height and width of an image, or of finer features.

    Scores in float32 stay so in models of half precision: there is nothing to be gained.

    Args:
        stride: Rows and columns of the second input from one cell of the first to the next. None
            stretches the first input over the second.
        first: Row and column of the second input on which the first cell is centred; see
            `pdanet_tf.ops.grid.CellGrid`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[images, like]` with images `(batch, height, width, channels)` and like
        `(batch, like_height, like_width, any)`; output
        `(batch, like_height, like_width, channels)`, in the dtype of the first input.
    """

    def __init__(self, stride: int | None = None, first: float = 0.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.grid = None if stride is None else CellGrid(stride, first)

    def call(self, inputs: Any) -> Any:
        """Resizes the first input to the size of the second."""
        images, like = inputs
        _, height, width, _ = ops.shape(like)
        return bilinear_resize(images, (height, width), self.grid)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape that `call` produces."""
        images, like = input_shape
        return (images[0], like[1], like[2], images[3])

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        images, like = inputs
        shape = self.compute_output_shape((images.shape, like.shape))
        return keras.KerasTensor(shape, dtype=images.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), **(dataclasses.asdict(self.grid) if self.grid else {})}
