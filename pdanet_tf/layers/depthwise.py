"""Depthwise convolution with batch norm, the middle of MobileNet's blocks."""

import keras
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.conv import ConvBatchNorm


@keras.saving.register_keras_serializable(package="pdanet_tf")
class DepthwiseConvBatchNorm(ConvBatchNorm):
    """A `ConvBatchNorm` that convolves every channel on its own.

    Its arguments are those of `ConvBatchNorm`. `filters` is also the number of input channels.

    Shapes:
        Input `(batch, height, width, filters)`, output
        `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: See `ConvBatchNorm`; or if the input has another number of channels.
    """

    def _make_conv(self) -> keras.layers.Layer:
        return keras.layers.DepthwiseConv2D(
            self.kernel_size,
            strides=self.strides,
            dilation_rate=self.dilation_rate,
            padding="valid" if self.strides > 1 else "same",
            data_format="channels_last",
            use_bias=False,
            depthwise_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the kernel and the batch norm's variables."""
        if channels_of(input_shape) != self.filters:
            raise ValueError(
                f"The input must have as many channels as there are filters, {self.filters}. "
                f"Received: input_shape={input_shape}"
            )
        super().build(input_shape)

    def _convolve(self, inputs: Tensor) -> Tensor:
        pad = self.dilation_rate * (self.kernel_size // 2) if self.strides > 1 else 0
        return self.conv(ops.pad(inputs, ((0, 0), (pad, pad), (pad, pad), (0, 0))))
