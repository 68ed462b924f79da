"""Pooling that Keras does not have, or not on sizes known only when the model runs."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.ops.precision import full_precision_dtype


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Averages an image over a grid of `output_size` x `output_size` bins.

    Bin i covers the rows from `floor(i * height / n)` to `ceil((i + 1) * height / n)`, so that
    neighbouring bins overlap when the size is no multiple of n, exactly as in PyTorch's
    `AdaptiveAvgPool2d`. It is computed as two products with small averaging matrices, which
    needs no static size and runs on every backend.

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
        if output_size < 1:
            raise ValueError(f"output_size must be at least 1. Received: output_size={output_size}")
        self.output_size = output_size

    def call(self, inputs: Any) -> Any:
        """Averages rows, then columns."""
        _, height, width, _ = ops.shape(inputs)
        rows = self._averaging_matrix(height, self.compute_dtype)
        columns = self._averaging_matrix(width, self.compute_dtype)
        pooled = ops.einsum("nh,bhwc->bnwc", rows, inputs)
        return ops.einsum("mw,bnwc->bnmc", columns, pooled)

    def _averaging_matrix(self, size: Any, dtype: str) -> Any:
        """Returns the (output_size, size) matrix whose rows average one bin each."""
        position = ops.arange(size, dtype="int32")[None, :]
        index = ops.arange(self.output_size, dtype="int32")[:, None]
        start = index * size // self.output_size
        end = ((index + 1) * size + self.output_size - 1) // self.output_size
        precise = full_precision_dtype(dtype)
        inside = ops.cast((position >= start) & (position < end), precise)
        return ops.cast(inside / ops.cast(end - start, precise), dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape that `call` produces."""
        return (input_shape[0], self.output_size, self.output_size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "output_size": self.output_size}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class DenseMaxPooling(keras.layers.Layer):
    """The maximum of 2 x 2 positions, `dilation_rate` apart, at every position.

    Subsampled, it equals a max pool of stride 2. The inputs must not be negative: zeros pad.

    Args:
        dilation_rate: Distance between the positions.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.
    """

    def __init__(self, dilation_rate: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dilation_rate = dilation_rate

    def call(self, inputs: Any) -> Any:
        """Takes the maximum over rows, then over columns."""
        rate = self.dilation_rate
        below = ops.pad(inputs, ((0, 0), (0, rate), (0, 0), (0, 0)))[:, rate:]
        rows = ops.maximum(inputs, below)
        right = ops.pad(rows, ((0, 0), (0, 0), (0, rate), (0, 0)))[:, :, rate:]
        return ops.maximum(rows, right)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "dilation_rate": self.dilation_rate}
