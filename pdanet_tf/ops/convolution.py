"""Convolution with zeros as padding, by the way that pays."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.winograd import winograd_conv

_WORTHWHILE = 256  # channels from which the sums cost less than the multiplications saved


def same_conv(inputs: Any, kernel: Any, dilation_rate: int = 1) -> Any:
    """Convolves with zeros as padding, so that the size stays; by Winograd's way where it pays.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(height, width, channels, filters)`.
        dilation_rate: Distance between the kernel's taps, in positions.

    Returns:
        `(batch, height, width, filters)`.
    """
    if _pays(inputs, kernel):
        return winograd_conv(inputs, kernel, dilation_rate)
    return ops.conv(
        inputs,
        kernel,
        padding="same",
        data_format="channels_last",
        dilation_rate=dilation_rate,
    )


def _pays(inputs: Any, kernel: Any) -> bool:
    """Tells whether a convolution is faster by `winograd_conv`.

    It is on CPUs under TensorFlow, in float32 (half precision would lose too much), with many
    channels. GPUs have convolutions of their own that do the same.
    """
    return (
        not is_plain()
        and tuple(kernel.shape[:2]) == (3, 3)
        and min(kernel.shape[2:]) >= _WORTHWHILE
        and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        and keras.backend.backend() == "tensorflow"
        and not keras.distribution.list_devices("gpu")
    )
