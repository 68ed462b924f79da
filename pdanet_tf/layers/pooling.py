"""Adaptive average pooling that works on sizes known only when the model runs."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.layers.precision import full_precision_dtype


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
