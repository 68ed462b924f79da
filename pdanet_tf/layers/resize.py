"""Resizing to the size of another input."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearResizeLike(keras.layers.Layer):
    """Resizes features bilinearly to the height and width of an image, or of finer features.

    Float32 scores stay float32 in models of half precision, where a cast would save nothing.

    Args:
        stride: Distance between two cells of the first input, in cells of the second. None
            stretches the first input over the second.
        first: Centre of the first cell of the first input, in cells of the second; see
            `pdanet_tf.ops.grid.CellGrid`.
        align_corners: How the first input is stretched, see `pdanet_tf.ops.resize.bilinear_resize`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[images, like]` with images `(batch, height, width, channels)` and like
        `(batch, like_height, like_width, any)`; output
        `(batch, like_height, like_width, channels)`, in the dtype of the first input.

    Raises:
        ValueError: If `stride` is below 1, `first` is not a finite number, or both a stride and
            `align_corners` are given.
    """

    def __init__(
        self,
        stride: int | None = None,
        first: float = 0.0,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if align_corners and stride is not None:
            raise ValueError(
                "align_corners stretches the input, so it has no stride. "
                f"Received: stride={stride}, align_corners={align_corners}"
            )
        self.align_corners = align_corners
        first = convert_field("first", first, float)
        self.grid = None if stride is None else CellGrid(check_positive("stride", stride), first)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Resizes the first input to the size of the second."""
        images, like = inputs
        _, height, width, _ = ops.shape(like)
        return bilinear_resize(images, (height, width), self.grid, self.align_corners)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape that `call` produces."""
        images, like = input_shape
        return (images[0], like[1], like[2], images[3])

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        images, like = inputs
        shape = self.compute_output_shape((images.shape, like.shape))
        return keras.KerasTensor(shape, dtype=images.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        place = dataclasses.asdict(self.grid) if self.grid else {}
        return {**super().get_config(), **place, "align_corners": self.align_corners}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Stretched(keras.layers.Identity):
    """Marks features that are stretched over the image, wherever their receptive fields are.

    It changes nothing. The networks of other packages stretch their logits; where the model itself
    does not resize them, the layer tells the loss, and who resizes them, to do the same. Float32
    logits stay float32 in models of half precision.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
