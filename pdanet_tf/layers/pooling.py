"""Pooling layers that Keras lacks, or lacks for sizes that are known only at run time."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.ops.precision import full_precision_dtype


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Averages an image over a grid of `output_size` x `output_size` bins.

    Bin i covers the rows from `floor(i * height / n)` up to `ceil((i + 1) * height / n)`, as in
    PyTorch's `AdaptiveAvgPool2d`, so neighbouring bins overlap if the size is not a multiple of n.
    Two products with small averaging matrices compute it, which requires no static size and runs
    on every backend.

    Args:
        output_size: Bins per side, n.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, n, n, channels)`.

    Raises:
        ValueError: If `output_size` is below 1.
    """

    def __init__(self, output_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = check_positive("output_size", output_size)

    def call(self, inputs: Tensor) -> Tensor:
        """Averages rows, then columns."""
        _, height, width, _ = ops.shape(inputs)
        rows = self._averaging_matrix(height, self.compute_dtype)
        columns = self._averaging_matrix(width, self.compute_dtype)
        pooled = ops.einsum("nh,bhwc->bnwc", rows, inputs)
        return ops.einsum("mw,bnwc->bnmc", columns, pooled)

    def _averaging_matrix(self, size: int | Tensor, dtype: str) -> Tensor:
        """Returns the (output_size, size) matrix; each row averages one bin."""
        position = ops.arange(size, dtype="int32")[None, :]
        index = ops.arange(self.output_size, dtype="int32")[:, None]
        start = index * size // self.output_size
        end = ((index + 1) * size + self.output_size - 1) // self.output_size
        precise = full_precision_dtype(dtype)
        inside = ops.cast((position >= start) & (position < end), precise)
        return ops.cast(inside / ops.cast(end - start, precise), dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return (input_shape[0], self.output_size, self.output_size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "output_size": self.output_size}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class DenseMaxPooling(keras.layers.Layer):
    """Max pooling of stride 1 over 2 x 2 positions that are `dilation_rate` apart.

    Every `2 * dilation_rate`-th output equals max pooling of stride 2 over every `dilation_rate`-th
    input. The inputs must not be negative, because they are padded with zeros.

    Args:
        dilation_rate: Distance between the positions.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.

    Raises:
        ValueError: If `dilation_rate` is below 1.
    """

    def __init__(self, dilation_rate: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dilation_rate = check_positive("dilation_rate", dilation_rate)

    def call(self, inputs: Tensor) -> Tensor:
        """Takes the maximum over rows, then over columns."""
        rate = self.dilation_rate
        below = ops.pad(inputs, ((0, 0), (0, rate), (0, 0), (0, 0)))[:, rate:]
        rows = ops.maximum(inputs, below)
        right = ops.pad(rows, ((0, 0), (0, 0), (0, rate), (0, 0)))[:, :, rate:]
        return ops.maximum(rows, right)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "dilation_rate": self.dilation_rate}
