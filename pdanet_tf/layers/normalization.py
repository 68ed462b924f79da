"""Normalisation of pixels to the inputs that a backbone was trained on."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.choices import NORMALIZATIONS
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


def pixel_mean(normalization: str) -> tuple[float, ...]:
    """Returns the RGB pixel (0 to 255) that a normalisation maps to zero.

    Raises:
        ValueError: If the normalisation is unknown.
    """
    if normalization not in _STATISTICS:
        raise ValueError(
            f"normalization must be one of {NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}"
        )
    return _STATISTICS[normalization][0]


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PixelNormalization(keras.layers.Layer):
    """Normalises RGB pixels to the inputs that the backbone expects.

    Args:
        normalization: `"torch"` subtracts ImageNet's mean and divides by its standard deviation
            (CSAIL's present checkpoints, torchvision); `"caffe"` subtracts the mean only and
            reverses the channels to BGR (the checkpoints of PDANet's author).
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, 3)`, RGB, 0 to 255, of any dtype; output of the same
        shape in the layer's compute dtype.

    Raises:
        ValueError: If the normalisation is unknown.
    """

    def __init__(self, normalization: str = "torch", **kwargs: Any) -> None:
        # Half precision would round the pixels before their mean is subtracted.
        super().__init__(autocast=False, **kwargs)
        pixel_mean(normalization)
        self.normalization = normalization

    def call(self, inputs: Tensor) -> Tensor:
        """Subtracts the mean, divides by the standard deviation, and orders the channels."""
        mean, deviation, reverse = _STATISTICS[self.normalization]
        precise = full_precision_dtype(self.compute_dtype)
        pixels = ops.cast(inputs, precise) - ops.array(mean, precise)
        pixels = pixels / ops.array(deviation, precise)
        if reverse:
            pixels = ops.flip(pixels, axis=-1)
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "normalization": self.normalization}
