"""Normalisation of pixels to the inputs that a backbone was trained on."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.choices import NORMALIZATIONS
from pdanet_tf.base.pixel_format import check_statistics
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.ops.precision import full_precision_dtype

# Mean and standard deviation per channel in RGB order, in units of pixels (0 to 255), and
# whether the backbone then expects the channels in reversed (BGR) order.
_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...], bool]] = {
    "torch": (
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
        False,
    ),
    "caffe": ((122.7717, 115.9465, 102.9801), (1.0, 1.0, 1.0), True),
}


def pixel_mean(normalization: str, mean: Sequence[float] | None = None) -> tuple[float, ...]:
    """Returns the pixel that a normalisation maps to zero, RGB from 0 to 255.

    Args:
        normalization: See `PixelNormalization`.
        mean: The mean of each channel, if it is not that of the normalisation; it is returned.

    Raises:
        ValueError: If the normalisation is unknown.
    """
    if normalization not in _STATISTICS:
        raise ValueError(
            f"normalization must be one of {NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}"
        )
    return _STATISTICS[normalization][0] if mean is None else tuple(mean)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PixelNormalization(keras.layers.Layer):
    """Normalises pixels to the inputs that the backbone expects.

    Args:
        normalization: `"torch"` subtracts ImageNet's mean and divides by its standard deviation
            (CSAIL's present checkpoints, torchvision); `"caffe"` subtracts the mean only and
            reverses the channels to BGR (the checkpoints of PDANet's author).
        mean: Mean of each channel, in units of the pixels; None for that of `normalization`, which
            is for RGB from 0 to 255.
        std: Standard deviation of each channel, likewise.
        **kwargs: Arguments of `keras.layers.Layer`.

    Only images of three channels are reversed.

    Shapes:
        Input `(batch, height, width, channels)`, of any dtype, RGB from 0 to 255 unless `mean` and
        `std` say otherwise; output of the same shape in the layer's compute dtype.

    Raises:
        ValueError: If the normalisation is unknown, `mean` and `std` differ in length, one of them
            is missing for other than three channels, or a standard deviation is not above 0.
    """

    def __init__(
        self,
        normalization: str = "torch",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        # Half precision would round the pixels before their mean is subtracted.
        super().__init__(autocast=False, **kwargs)
        pixel_mean(normalization)
        self.normalization = normalization
        channels = 3 if mean is None or std is None else len(mean)
        self.mean, self.std = check_statistics(mean, std, channels)

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return 3 if self.mean is None else len(self.mean)

    def call(self, inputs: Tensor) -> Tensor:
        """Subtracts the mean, divides by the standard deviation, and orders the channels."""
        mean, deviation, reverse = _STATISTICS[self.normalization]
        precise = full_precision_dtype(self.compute_dtype)
        pixels = ops.cast(inputs, precise) - ops.array(self.mean or mean, precise)
        pixels = pixels / ops.array(self.std or deviation, precise)
        if reverse and self.channels == 3:
            pixels = ops.flip(pixels, axis=-1)
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "mean": self.mean,
            "std": self.std,
        }
