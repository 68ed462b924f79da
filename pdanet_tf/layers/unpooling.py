"""Max pooling with the positions of the maxima (Badrinarayanan et al. 2015, "SegNet")."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.heads import FullPrecision


@keras.saving.register_keras_serializable(package="pdanet_tf")
class FullPrecisionConvBatchNorm(FullPrecision, ConvBatchNorm):
    """A `ConvBatchNorm` that computes in float32 in models of half precision.

    It precedes a `MaxPoolingWithMask`: half precision often rounds different neighbours to the same
    number, and the mask would then mark the first of them instead of the maximum.
    """


@keras.saving.register_keras_serializable(package="pdanet_tf")
class MaxPoolingWithMask(keras.layers.Layer):
    """Max pooling of 2 x 2 positions that also returns a mask of the maxima.

    The inputs must not be negative, because odd sizes are padded with zeros. The mask marks the
    first of equal maxima. Float32 inputs are compared in float32 even in models of half
    precision; see `FullPrecisionConvBatchNorm`.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`; outputs are the maxima,
        `(batch, ceil(height / 2), ceil(width / 2), channels)`, and a mask of the input's shape,
        1 at the maxima and 0 elsewhere, both in the layer's compute dtype.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Pools and marks the maxima."""
        batch, height, width, channels = ops.shape(inputs)
        rows, columns = (height + 1) // 2, (width + 1) // 2
        padded = ops.pad(inputs, ((0, 0), (0, 1), (0, 1), (0, 0)))
        windows = ops.reshape(
            padded[:, : 2 * rows, : 2 * columns], (batch, rows, 2, columns, 2, channels)
        )
        windows = ops.transpose(windows, (0, 1, 3, 2, 4, 5))
        windows = ops.reshape(windows, (batch, rows, columns, 4, channels))
        first = ops.argmax(windows, axis=3)
        mask = ops.one_hot(first, 4, axis=3, dtype=self.compute_dtype)
        mask = ops.reshape(mask, (batch, rows, columns, 2, 2, channels))
        mask = ops.transpose(mask, (0, 1, 3, 2, 4, 5))
        mask = ops.reshape(mask, (batch, 2 * rows, 2 * columns, channels))
        maxima = ops.cast(ops.max(windows, axis=3), self.compute_dtype)
        return maxima, mask[:, :height, :width]

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes that `call` produces."""
        batch, height, width, channels = input_shape
        half = tuple(None if side is None else -(-side // 2) for side in (height, width))
        return (batch, *half, channels), tuple(input_shape)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class MaxUnpooling(keras.layers.Layer):
    """Writes every maximum to the position that a mask marks, and zeros elsewhere.

    Shapes:
        Inputs `[features, mask]` with features
        `(batch, ceil(height / 2), ceil(width / 2), channels)` and the mask of a
        `MaxPoolingWithMask`, `(batch, height, width, channels)`; output of the mask's shape.
    """

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Repeats the features and multiplies them by the mask."""
        features, mask = inputs
        _, height, width, _ = ops.shape(mask)
        repeated = ops.repeat(ops.repeat(features, 2, axis=1), 2, axis=2)
        return repeated[:, :height, :width] * mask

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape that `call` produces."""
        return tuple(input_shape[1])
