"""From pixels to what the backbone was trained on."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.choices import NORMALIZATIONS
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
        ValueError: If there is no such normalisation.
    """
    if normalization not in _STATISTICS:
        raise ValueError(
            f"normalization must be one of {NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}"
        )
    return _STATISTICS[normalization][0]


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PixelNormalization(keras.layers.Layer):
    """Normalises RGB pixels as the backbone expects them.

    Args:
        normalization: `"torch"` subtracts the mean and divides by the standard deviation of
            ImageNet (the present checkpoints of CSAIL, torchvision); `"caffe"` reverses the
            channels to BGR and subtracts the mean only (the checkpoints of PDANet's author).
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, 3)`, RGB, 0 to 255, of any dtype; output of the same
        shape in the layer's compute dtype.

    Raises:
        ValueError: If there is no such normalisation.
    """

    def __init__(self, normalization: str = "torch", **kwargs: Any) -> None:
        # Half precision would round the pixels before their mean is subtracted.
        super().__init__(autocast=False, **kwargs)
        pixel_mean(normalization)
        self.normalization = normalization

    def call(self, inputs: Any) -> Any:
        """Subtracts, divides, and puts the channels in order."""
        mean, deviation, reverse = _STATISTICS[self.normalization]
        precise = full_precision_dtype(self.compute_dtype)
        pixels = ops.cast(inputs, precise) - ops.array(mean, precise)
        pixels = pixels / ops.array(deviation, precise)
        if reverse:
            pixels = ops.flip(pixels, axis=-1)
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "normalization": self.normalization}
