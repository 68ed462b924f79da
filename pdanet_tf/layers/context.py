"""Context from stacked dilated convolutions (Yu and Koltun 2015)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.heads import FullPrecision

# Dilation of each 3 x 3 convolution, and its width as a multiple of the number of classes.
_DILATIONS = (1, 1, 2, 4, 8, 16, 1)
_WIDTHS = {"basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}


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

    The receptive field of an output is 67 x 67 positions. A ReLU follows every convolution but the
    last. A new module returns non-negative inputs unchanged, up to the noise of its initial
    kernels. The inputs and outputs are scores, so it computes in float32 in half precision.

    Args:
        variant: `"basic"`: every convolution has one channel per class; `"large"`: they have 2, 2,
            4, 8, 16, 32 and 32 channels per class.
        noise: See `IdentityInitializer`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, num_classes)`.

    Raises:
        ValueError: If `variant` is neither of these.
    """

    def __init__(self, variant: str = "basic", noise: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if variant not in _WIDTHS:
            raise ValueError(
                f"variant must be one of {tuple(_WIDTHS)}. Received: variant={variant!r}"
            )
        self.variant = variant
        self.noise = noise

    def build(self, input_shape: Shape) -> None:
        """Creates the convolutions, initialised to the identity."""
        num_classes = channels_of(input_shape)
        self.convs = [
            self._conv(width * num_classes, 3, dilation, num_classes, f"conv_{index}")
            for index, (width, dilation) in enumerate(
                zip(_WIDTHS[self.variant], _DILATIONS, strict=True)
            )
        ]
        self.convs.append(self._conv(num_classes, 1, 1, num_classes, "projection"))
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)

    def _conv(
        self, filters: int, kernel_size: int, dilation: int, num_classes: int, name: str
    ) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            data_format="channels_last",
            dilation_rate=dilation,
            kernel_initializer=IdentityInitializer(num_classes, self.noise),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Applies the convolutions in turn."""
        x = inputs
        for conv in self.convs[:-1]:
            x = ops.relu(conv(x))
        return self.convs[-1](x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "variant": self.variant, "noise": self.noise}
