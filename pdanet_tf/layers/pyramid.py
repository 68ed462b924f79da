"""Pyramids of pooled scales (Zhao et al. 2017, "Pyramid Scene Parsing Network")."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_all_positive, check_positive
from pdanet_tf.layers.attention import DualAttention
from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.fusion import join_pyramid
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.layers.pooling import AdaptiveAveragePooling


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PyramidPooling(keras.layers.Layer):
    """Context from averages over grids of several scales.

    Every level averages the features over n x n bins, applies a 1 x 1 convolution with batch norm
    and ReLU, and is upsampled bilinearly. The output concatenates the features and the levels, the
    features first.

    Args:
        filters: Number of channels of each level.
        pool_scales: Bins per side of each level.
        upsample: Whether to upsample and concatenate. With False the output is a list of the
            levels, the input of a `PyramidFusion`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output
        `(batch, height, width, channels + len(pool_scales) * filters)`; with `upsample=False` a
        list of one `(batch, n, n, filters)` for each scale n.

    Raises:
        ValueError: If `pool_scales` is not a sequence of integers, is empty, or holds a number
            below 1; or if `filters` is below 1.
    """

    def __init__(
        self,
        filters: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        upsample: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)
        self.pool_scales = check_all_positive("pool_scales", pool_scales)
        self.upsample = upsample
        self.pools = [
            AdaptiveAveragePooling(scale, dtype=self.dtype_policy) for scale in self.pool_scales
        ]

    @property
    def normalizes_single_values(self) -> bool:
        """Whether the batch norm of a level has only one value per image and channel."""
        return 1 in self.pool_scales

    def _make_level(self, name: str) -> keras.layers.Layer:
        return ConvBatchNorm(
            self.filters,
            1,
            beta_initializer=head_beta(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the levels."""
        self.levels = [self._make_level(f"level_{index}") for index in range(len(self.pools))]
        for pool, level in zip(self.pools, self.levels, strict=True):
            level.build(pool.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Pools and convolves every level; upsamples and concatenates them if `upsample`."""
        levels = [
            level(pool(inputs), training=training)
            for pool, level in zip(self.pools, self.levels, strict=True)
        ]
        return join_pyramid(inputs, levels) if self.upsample else levels

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Returns the shape, or the list of shapes, that `call` produces."""
        if not self.upsample:
            return [(input_shape[0], scale, scale, self.filters) for scale in self.pool_scales]
        channels = channels_of(input_shape)
        return (*input_shape[:-1], channels + len(self.pool_scales) * self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "pool_scales": self.pool_scales,
            "upsample": self.upsample,
        }


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AttentionLevel(keras.layers.Layer):
    """One level of PDANet's pyramid: dual attention, batch norm, ReLU.

    Args:
        filters: Number of output channels.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.
        dropout: Rate of the spatial dropout inside the dual attention.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.
    """

    def __init__(
        self,
        filters: int,
        reduction: int = 8,
        channel_energy: str = "dissimilar",
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dual_attention = DualAttention(
            filters,
            reduction,
            channel_energy,
            dropout,
            dtype=self.dtype_policy,
            name="dual_attention",
        )
        self.batch_norm = BatchNorm(
            beta_initializer=head_beta(), dtype=self.dtype_policy, name="batch_norm"
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the attention and the batch norm."""
        self.dual_attention.build(input_shape)
        self.batch_norm.build(self.dual_attention.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Applies attention, batch norm and ReLU."""
        attended = self.dual_attention(inputs, training=training)
        return ops.relu(self.batch_norm(attended, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return self.dual_attention.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.dual_attention.filters,
            "reduction": self.dual_attention.reduction,
            "channel_energy": self.dual_attention.channel_energy,
            "dropout": self.dual_attention.dropout,
        }


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PyramidDualAttention(PyramidPooling):
    """The pyramid of PDANet: dual attention is applied to every pooled scale.

    It is a `PyramidPooling` whose levels have a `DualAttention` instead of a 1 x 1 convolution. By
    default, attention processes 1 + 4 + 9 + 36 = 50 positions, whatever the size of the image.

    Args:
        filters: Number of channels of each level.
        pool_scales: Bins per side of each level.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.
        dropout: Rate of the spatial dropout inside each dual attention.
        upsample: See `PyramidPooling`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        See `PyramidPooling`.

    Raises:
        ValueError: See `PyramidPooling` and `DualAttention`.

    Example:
        ```python
        x = PyramidDualAttention(512, pool_scales=(1, 2, 3, 6))(features)
        ```
    """

    def __init__(
        self,
        filters: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        reduction: int = 8,
        channel_energy: str = "dissimilar",
        dropout: float = 0.1,
        upsample: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, pool_scales, upsample, **kwargs)
        self.reduction = reduction
        self.channel_energy = channel_energy
        self.dropout = dropout

    def _make_level(self, name: str) -> keras.layers.Layer:
        return AttentionLevel(
            self.filters,
            self.reduction,
            self.channel_energy,
            self.dropout,
            dtype=self.dtype_policy,
            name=name,
        )

    @property
    def attention_scales(self) -> dict[str, keras.Variable]:
        """The scales gamma of the built layer: "position_2" is that of the level of 2 x 2 bins.

        If several levels have as many bins, their number counts from 0: "position_2_0".
        """
        found: dict[str, keras.Variable] = {}
        for index, (bins, level) in enumerate(zip(self.pool_scales, self.levels, strict=True)):
            number = self.pool_scales[:index].count(bins)
            end = f"{bins}_{number}" if self.pool_scales.count(bins) > 1 else str(bins)
            for name, scale in level.dual_attention.attention_scales.items():
                found[f"{name}_{end}"] = scale
        return found

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "channel_energy": self.channel_energy,
            "dropout": self.dropout,
        }
