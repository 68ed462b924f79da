"""Convolution with batch norm and activation, the building block of all models."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.layers.initializers import head_kernel
from pdanet_tf.ops.convolution import same_conv


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ConvBatchNorm(keras.layers.Layer):
    """Convolution without bias, batch norm, and an activation.

    The padding is symmetric, `dilation_rate * (kernel_size // 2)` on every side, as in the
    reference implementation. Keras' `padding="same"` pads a strided convolution asymmetrically,
    which shifts the features by a pixel.

    Args:
        filters: Number of output channels.
        kernel_size: Side of the square kernel, an odd number.
        strides: Stride in both directions.
        dilation_rate: Distance between the kernel's taps, in positions.
        activation: Name of an activation, or None for a linear output.
        kernel_initializer: Initializer of the kernel; None for `initializers.head_kernel()`.
        beta_initializer: Initializer of the batch norm's shift.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output
        `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: If a number is below 1, or `kernel_size` is even: its padding would not be
            symmetric.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        dilation_rate: int = 1,
        activation: str | None = "relu",
        kernel_initializer: str | dict[str, Any] | keras.initializers.Initializer | None = None,
        beta_initializer: str | dict[str, Any] | keras.initializers.Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)
        self.kernel_size = check_positive("kernel_size", kernel_size)
        self.strides = check_positive("strides", strides)
        self.dilation_rate = check_positive("dilation_rate", dilation_rate)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: kernel_size={kernel_size}")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer) or head_kernel()
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.conv = self._make_conv()
        self.batch_norm = BatchNorm(
            beta_initializer=self.beta_initializer, dtype=self.dtype_policy, name="batch_norm"
        )
        self._is_folded = False

    def _make_conv(self) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            dilation_rate=self.dilation_rate,
            padding="valid" if self.strides > 1 else "same",
            data_format="channels_last",
            use_bias=False,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the kernel and the batch norm's variables."""
        self.conv.build(input_shape)
        self.batch_norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Convolves, normalises and activates."""
        x = self._convolve(inputs)
        if not self._is_folded:
            return self.activation(self.batch_norm(x, training=training))
        if training:
            raise ValueError(
                f"The batch norm of {self.name!r} is folded into its kernel, so the layer "
                "supports inference only. Received: training=True"
            )
        return self.activation(x + ops.cast(self.batch_norm.beta, x.dtype))

    def fold_batch_norm(self) -> None:
        """Folds batch norm into the kernel, for inference only.

        The kernel is multiplied by the scale of batch norm, and only the shift remains. The other
        variables of batch norm are set to values without effect, so that a layer whose batch norm
        is not folded computes the same after loading these variables.
        """
        norm = self.batch_norm
        scale = norm.gamma / ops.sqrt(norm.moving_variance + norm.epsilon)
        # A kernel (height, width, in, out), or (height, width, channels, 1) if it is depthwise.
        shape = (-1, 1) if self.conv.kernel.shape[-1] == 1 else (-1,)
        self.conv.kernel.assign(self.conv.kernel * ops.reshape(scale, shape))
        norm.beta.assign(norm.beta - norm.moving_mean * scale)
        norm.gamma.assign(ops.ones_like(norm.gamma))
        norm.moving_mean.assign(ops.zeros_like(norm.moving_mean))
        norm.moving_variance.assign(ops.full_like(norm.moving_variance, 1 - norm.epsilon))
        self._is_folded = True

    def _convolve(self, inputs: Tensor) -> Tensor:
        if self.strides == 1:
            return same_conv(inputs, self.conv.kernel, self.dilation_rate)
        pad = self.dilation_rate * (self.kernel_size // 2)
        return self.conv(ops.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0))))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        batch, height, width, _ = input_shape
        return (batch, self._strided(height), self._strided(width), self.filters)

    def _strided(self, size: int | None) -> int | None:
        return None if size is None else -(-size // self.strides)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
        }
