"""Context from stacked dilated convolutions (Yu and Koltun 2015)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.heads import FullPrecision

# Dilation of each 3 x 3 convolution, by the number of layers.
_DILATIONS = {
    7: (1, 1, 2, 4, 8, 1),
    8: (1, 1, 2, 4, 8, 16, 1),
    10: (1, 1, 2, 4, 8, 16, 32, 64, 1),
}
# Their widths as multiples of the number of classes.
_LARGE_WIDTHS = (2, 2, 4, 8, 16, 32, 32)
_VARIANTS = ("basic", "large")


@keras.saving.register_keras_serializable(package="pdanet_tf")
class IdentityInitializer(keras.initializers.Initializer):
    """Initialises kernels to the identity on classes, each represented by several channels.

    With C classes, the centre tap from channel a to channel b is `C / outputs` if both belong to
    the same class, `floor(a C / inputs) == floor(b C / outputs)`. All other taps are zero
    (equation 5 of the paper). Noise is added to distinguish the channels of a class.

    Args:
        num_classes: Number of classes, C.
        noise: Standard deviation of the noise, in units of `C / outputs`.
        seed: Seed of the noise.
    """

    def __init__(self, num_classes: int, noise: float = 0.01, seed: int | None = None) -> None:
        self.num_classes = num_classes
        self.noise = noise
        self.seed = seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Tensor:
        """Returns a kernel `(height, width, inputs, outputs)`."""
        height, width, inputs, outputs = shape
        gain = self.num_classes / outputs
        sources = np.arange(inputs) * self.num_classes // inputs
        targets = np.arange(outputs) * self.num_classes // outputs
        kernel = np.zeros(shape, "float32")
        kernel[height // 2, width // 2] = gain * (sources[:, None] == targets[None, :])
        dtype = dtype or keras.config.floatx()
        noise = keras.random.normal(shape, 0.0, self.noise * gain, dtype=dtype, seed=self.seed)
        return ops.cast(kernel, dtype) + noise

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {"num_classes": self.num_classes, "noise": self.noise, "seed": self.seed}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ContextModule(FullPrecision, keras.layers.Layer):
    """Seven 3 x 3 convolutions of dilation 1, 1, 2, 4, 8, 16 and 1, and a 1 x 1 convolution.

    The receptive field of an output is 67 x 67 positions. With 7 layers it is 35 x 35, because the
    dilation 16 is missing; with 10 layers it is 259 x 259, because 32 and 64 follow it. A ReLU
    follows every convolution but the last. A new module returns non-negative inputs unchanged, up
    to the noise of its initial kernels. The inputs and outputs are scores, so it computes in
    float32 in half precision.

    Args:
        variant: `"basic"`: every convolution has one channel per class; `"large"`: they have 2, 2,
            4, 8, 16, 32 and 32 channels per class.
        noise: See `IdentityInitializer`.
        num_layers: Number of convolutions: 7, 8 or 10; 8 in the large module.
        pad_once: Whether the input is padded with zeros once, for all convolutions, as in the
            published network for Pascal VOC. By default every convolution pads its input.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, num_classes)`.

    Raises:
        ValueError: If `variant` is neither of these, or there is no such module with this number of
            layers.
    """

    def __init__(
        self,
        variant: str = "basic",
        noise: float = 0.01,
        num_layers: int = 8,
        pad_once: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {_VARIANTS}. Received: variant={variant!r}")
        known = tuple(_DILATIONS) if variant == "basic" else (8,)
        if num_layers not in known:
            raise ValueError(
                f"num_layers of the {variant} context module must be one of {known}. "
                f"Received: num_layers={num_layers!r}"
            )
        self.variant = variant
        self.noise = noise
        self.num_layers = num_layers
        self.pad_once = pad_once

    def build(self, input_shape: Shape) -> None:
        """Creates the convolutions, initialised to the identity."""
        num_classes = channels_of(input_shape)
        dilations = _DILATIONS[self.num_layers]
        widths = _LARGE_WIDTHS if self.variant == "large" else (1,) * len(dilations)
        self.convs = [
            self._conv(width * num_classes, 3, dilation, num_classes, f"conv_{index}")
            for index, (width, dilation) in enumerate(zip(widths, dilations, strict=True))
        ]
        self.convs.append(self._conv(num_classes, 1, 1, num_classes, "projection"))
        channels = num_classes
        for conv in self.convs:
            conv.build((None, None, None, channels))
            channels = conv.filters

    def _conv(
        self, filters: int, kernel_size: int, dilation: int, num_classes: int, name: str
    ) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="valid" if self.pad_once else "same",
            data_format="channels_last",
            dilation_rate=dilation,
            kernel_initializer=IdentityInitializer(num_classes, self.noise),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Applies the convolutions in turn."""
        x = inputs
        if self.pad_once:
            border = (sum(_DILATIONS[self.num_layers]),) * 2
            x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        for conv in self.convs[:-1]:
            x = ops.relu(conv(x))
        return self.convs[-1](x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "variant": self.variant,
            "noise": self.noise,
            "num_layers": self.num_layers,
            "pad_once": self.pad_once,
        }
