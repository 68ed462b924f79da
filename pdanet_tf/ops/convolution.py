"""Convolution with zero padding, by the faster of two methods."""

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.winograd import winograd_conv

# Number of channels from which a Winograd convolution saves more in multiplications than its
# additional sums cost.
_WINOGRAD_CHANNELS = 256


def same_conv(inputs: Tensor, kernel: Tensor, dilation_rate: int = 1) -> Tensor:
    """Convolves with zero padding to outputs of the same size.

    It is a Winograd convolution where that is faster; see `pdanet_tf.ops.winograd`.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(height, width, channels, filters)`.
        dilation_rate: Distance between the kernel's taps, in positions.

    Returns:
        `(batch, height, width, filters)`.
    """
    if _is_winograd_faster(inputs, kernel):
        return winograd_conv(inputs, kernel, dilation_rate)
    return ops.conv(
        inputs,
        kernel,
        padding="same",
        data_format="channels_last",
        dilation_rate=dilation_rate,
    )


def _is_winograd_faster(inputs: Tensor, kernel: Tensor) -> bool:
    """Returns whether `winograd_conv` is faster than the backend's convolution.

    It is faster on CPUs under TensorFlow, in float32 (half precision would lose too much
    accuracy), with many channels. GPU libraries have Winograd convolutions of their own.
    """
    return (
        not is_plain()
        and tuple(kernel.shape[:2]) == (3, 3)
        and min(kernel.shape[2:]) >= _WINOGRAD_CHANNELS
        and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        and keras.backend.backend() == "tensorflow"
        and not keras.distribution.list_devices("gpu")
    )
