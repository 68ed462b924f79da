"""The pyramid of UPerNet, whose levels are convolved after they are resized (Xiao et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.layers.pyramid import PyramidPooling
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ResizedConvBatchNorm(ConvBatchNorm):
    """1 x 1 convolution of features that are resized to others first, batch norm, ReLU.

    The convolution is computed before the features are resized. The result is the same, since one
    mixes only channels and the other only positions. Batch norm and ReLU see the resized features.

    Args:
        filters: Number of output channels.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[features, like]` with features `(batch, rows, columns, channels)` and like
        `(batch, height, width, any)`; output `(batch, height, width, filters)`.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(filters, 1, beta_initializer=head_beta(), **kwargs)

    # As in `PyramidFusion`, the overrides take a list of shapes.
    def build(self, input_shape: Sequence[Shape]) -> None:  # type: ignore[override]
        """Creates the kernel, and the batch norm's variables."""
        self.conv.build(input_shape[0])
        self.batch_norm.build(self.compute_output_shape(input_shape))

    def _convolve(self, inputs: Sequence[Tensor]) -> Tensor:
        features, like = inputs
        _, height, width, _ = ops.shape(like)
        return bilinear_resize(self.conv(features), (height, width))

    def compute_output_shape(  # type: ignore[override]
        self, input_shape: Sequence[Shape]
    ) -> Shape:
        """Returns the shape that `call` produces."""
        return super().compute_output_shape(input_shape[1])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        config = super().get_config()
        return {key: config[key] for key in ("name", "trainable", "dtype", "filters")}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ResizedPyramidPooling(PyramidPooling):
    """A `PyramidPooling` that resizes the averages before their convolution.

    ReLU then sees interpolated values, and batch norm weighs every position of the features
    equally, so the result differs from that of `PyramidPooling`. The code of UPerNet's authors
    computes it this way.

    Args:
        filters: Number of channels of each level.
        pool_scales: Bins per side of each level.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output
        `(batch, height, width, channels + len(pool_scales) * filters)`, the features first.

    Raises:
        ValueError: See `PyramidPooling`.
    """

    def __init__(
        self, filters: int = 512, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs: Any
    ) -> None:
        super().__init__(filters, pool_scales, **kwargs)

    def _make_level(self, name: str) -> keras.layers.Layer:
        return ResizedConvBatchNorm(self.filters, dtype=self.dtype_policy, name=name)

    def build(self, input_shape: Shape) -> None:
        """Creates the levels."""
        self.levels = [self._make_level(f"level_{index}") for index in range(len(self.pools))]
        for pool, level in zip(self.pools, self.levels, strict=True):
            level.build([pool.compute_output_shape(input_shape), input_shape])

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Pools, resizes and convolves every level, and concatenates them."""
        levels = [
            level([pool(inputs), inputs], training=training)
            for pool, level in zip(self.pools, self.levels, strict=True)
        ]
        return ops.concatenate([inputs, *levels], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        config = super().get_config()
        return {key: config[key] for key in config if key != "upsample"}
