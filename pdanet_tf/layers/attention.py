"""Attention over positions and over channels (Fu et al. 2019, "Dual Attention Network").

PDANet's equations 6 to 9 and its published code differ in details. Each layer documents which one
it follows, and the argument that selects the other.
"""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.heads import Classifier
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.ops.attention import attend
from pdanet_tf.ops.precision import full_precision

CHANNEL_ENERGIES = ("dissimilar", "similar")


def _flatten_positions(images: Tensor) -> Tensor:
    """Reshapes (batch, height, width, channels) to (batch, positions, channels)."""
    batch, height, width, channels = ops.shape(images)
    return ops.reshape(images, (batch, height * width, channels))


class _ResidualAttention(keras.layers.Layer):
    """Base of both attentions: returns `gamma * attended + inputs`, gamma a learnt scalar."""

    def build(self, input_shape: Shape) -> None:
        """Creates gamma, which starts at 0: a new layer is the identity."""
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def _add(self, inputs: Tensor, attended: Tensor) -> Tensor:
        gamma = ops.cast(self.gamma, inputs.dtype)
        return gamma * ops.reshape(attended, ops.shape(inputs)) + inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PositionAttention(_ResidualAttention):
    """Attention of every position over all positions.

    The output is `gamma * softmax(query . key^T) . value + inputs`, the softmax over keys, without
    scaling by the square root of the width. Energies and softmax are float32 in half precision.
    Memory grows with the number of positions, not with its square; see `pdanet_tf.ops.attention`.

    Args:
        reduction: Query and key have `channels // reduction` channels (at least 1). 8 as in the
            published code; 1 gives the paper's equation 6.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.

    Raises:
        ValueError: If `reduction` is below 1.
    """

    def __init__(self, reduction: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduction = check_positive("reduction", reduction)

    @property
    def attention_scales(self) -> dict[str, keras.Variable]:
        """The scale gamma of the built layer, under the name that the history of a run has."""
        return {"position": self.gamma}

    def build(self, input_shape: Shape) -> None:
        """Creates the projections to query, key and value."""
        channels = channels_of(input_shape)
        narrow = max(1, channels // self.reduction)
        self.query = self._projection(narrow, "query")
        self.key = self._projection(narrow, "key")
        self.value = self._projection(channels, "value")
        for projection in (self.query, self.key, self.value):
            projection.build(input_shape)
        super().build(input_shape)

    def _projection(self, filters: int, name: str) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters,
            1,
            data_format="channels_last",
            kernel_initializer=head_kernel(),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Applies attention over all positions."""
        query, key, value = (
            _flatten_positions(projection(inputs))
            for projection in (self.query, self.key, self.value)
        )
        return self._add(inputs, attend(query, key, value))

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PositionAttention":
        """Creates the layer; ignores the argument `bounded_memory` of earlier versions."""
        return super().from_config(_without_bounded_memory(config))


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ChannelAttention(_ResidualAttention):
    """Attention of every channel over all channels, without convolutions.

    With A the `(positions, channels)` matrix of the inputs and E = A^T . A, the output is
    `gamma * A . attention^T + inputs`. Energies and softmax are float32 in half precision.

    Args:
        energy: `"dissimilar"` for softmax(rowmax(E) - E), as in the published code, which favours
            channels that differ from the channel itself; `"similar"` for softmax(E), the paper's
            equation 8.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.

    Raises:
        ValueError: If `energy` is neither of these.
    """

    def __init__(self, energy: str = "dissimilar", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if energy not in CHANNEL_ENERGIES:
            raise ValueError(
                f"energy must be one of {CHANNEL_ENERGIES}. Received: energy={energy!r}"
            )
        self.energy = energy

    @property
    def attention_scales(self) -> dict[str, keras.Variable]:
        """The scale gamma of the built layer, under the name that the history of a run has."""
        return {"channel": self.gamma}

    def call(self, inputs: Tensor) -> Tensor:
        """Applies attention over all channels."""
        features = _flatten_positions(inputs)
        precise = full_precision(features)
        energy = ops.matmul(ops.transpose(precise, (0, 2, 1)), precise)
        if self.energy == "dissimilar":
            energy = ops.max(energy, axis=-1, keepdims=True) - energy
        attention = ops.cast(ops.softmax(energy, axis=-1), features.dtype)
        return self._add(inputs, ops.matmul(features, ops.transpose(attention, (0, 2, 1))))

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "energy": self.energy}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class DualAttention(keras.layers.Layer):
    """Position attention and channel attention in parallel, summed and projected.

    Each branch is a 3 x 3 convolution to `channels // 4`, the attention, and another 3 x 3
    convolution. Spatial dropout and a 1 x 1 convolution with bias follow the sum.

    Args:
        filters: Number of output channels.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.
        dropout: Rate of the spatial dropout before the last convolution.
        logits: Whether the outputs are logits, which are float32 in half precision.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.

    Raises:
        ValueError: See `PositionAttention` and `ChannelAttention`.
    """

    def __init__(
        self,
        filters: int,
        reduction: int = 8,
        channel_energy: str = "dissimilar",
        dropout: float = 0.1,
        logits: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.reduction = reduction
        self.channel_energy = channel_energy
        self.dropout = dropout
        self.logits = logits
        policy = self.dtype_policy
        self.position_attention = PositionAttention(
            reduction, dtype=policy, name="position_attention"
        )
        self.channel_attention = ChannelAttention(
            channel_energy, dtype=policy, name="channel_attention"
        )
        self.spatial_dropout = keras.layers.SpatialDropout2D(
            dropout, data_format="channels_last", dtype=policy
        )
        self.projection = (Classifier if logits else keras.layers.Conv2D)(
            filters,
            1,
            data_format="channels_last",
            kernel_initializer=head_kernel(),
            dtype=policy,
            name="projection",
        )

    @property
    def attention_scales(self) -> dict[str, keras.Variable]:
        """The scale gamma of both attentions of the built layer, "position" and "channel"."""
        return {
            **self.position_attention.attention_scales,
            **self.channel_attention.attention_scales,
        }

    def build(self, input_shape: Shape) -> None:
        """Creates both branches, with a quarter of the input's channels."""
        narrow = max(1, channels_of(input_shape) // 4)
        narrow_shape = (*input_shape[:-1], narrow)
        for branch in ("position", "channel"):
            for place, shape in (("in", input_shape), ("out", narrow_shape)):
                name = f"{branch}_conv_{place}"
                conv = ConvBatchNorm(
                    narrow, 3, beta_initializer=head_beta(), dtype=self.dtype_policy, name=name
                )
                setattr(self, name, conv)
                conv.build(shape)
        self.position_attention.build(narrow_shape)
        self.channel_attention.build(narrow_shape)
        self.projection.build(narrow_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Applies both branches, sums and projects."""
        position = self.position_conv_in(inputs, training=training)
        position = self.position_attention(position)
        position = self.position_conv_out(position, training=training)
        channel = self.channel_conv_in(inputs, training=training)
        channel = self.channel_attention(channel)
        channel = self.channel_conv_out(channel, training=training)
        return self.projection(self.spatial_dropout(position + channel, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return (*input_shape[:-1], self.filters)

    def compute_output_spec(
        self, inputs: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and the dtype that `call` produces."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.projection.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "channel_energy": self.channel_energy,
            "dropout": self.dropout,
            "logits": self.logits,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DualAttention":
        """Creates the layer; ignores the argument `bounded_memory` of earlier versions."""
        return super().from_config(_without_bounded_memory(config))


def _without_bounded_memory(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "bounded_memory"}
