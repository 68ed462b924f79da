"""What the attention layers of a model attend to."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import DualAttention, PyramidDualAttention
from pdanet_tf.layers.attention import ChannelAttention, PositionAttention
from pdanet_tf.ops.precision import full_precision


@dataclass(frozen=True)
class LevelAttention:
    """The dual attention of one level of a model, for one position of an image.

    Attributes:
        position: Weight that the cell at the position gives to each cell of the level, `(rows,
            columns)`, float32; the sum is 1.
        cell: Row and column of that cell.
        channel: Weight that each channel (row) gives to each channel (column), `(channels,
            channels)`, float32; the sum of each row is 1.
        position_gamma: Scale of the position attention: 0 means that the level ignores it.
        channel_gamma: Scale of the channel attention.
    """

    position: np.ndarray
    cell: tuple[int, int]
    channel: np.ndarray
    position_gamma: float
    channel_gamma: float


def find_attention(model: keras.Model) -> dict[str, tuple[keras.layers.Layer, int | None]]:
    """Returns the layers of a model that contain dual attention, by name of the level.

    Returns:
        For each level the layer and the number of its level in it, or None if it is itself the
        attention. The levels of PDANet are "1", "2", "3" and "6", the bins per side; that of DANet
        is "whole". If several layers have attention, the names begin with the layer's.
    """
    found: dict[str, dict[str, tuple[keras.layers.Layer, int | None]]] = {}
    for layer in model.layers:
        if isinstance(layer, DualAttention):
            found[layer.name] = {"whole": (layer, None)}
        elif isinstance(layer, PyramidDualAttention):
            scales = layer.pool_scales
            found[layer.name] = {
                str(bins) if scales.count(bins) == 1 else f"{bins}_{scales[:index].count(bins)}": (
                    layer,
                    index,
                )
                for index, bins in enumerate(scales)
            }
    return {
        level if len(found) == 1 else f"{name}_{level}": place
        for name, levels in found.items()
        for level, place in levels.items()
    }


def attention_of_level(
    features: Tensor, layer: keras.layers.Layer, index: int | None, at: tuple[float, float]
) -> LevelAttention:
    """Computes the attention of one level.

    The layers compute the attention block by block and keep none of it. Here the layer's own
    convolutions are applied to its input, and one row of softmax(query . key^T) is computed.

    Args:
        features: The input of the layer, `(1, height, width, channels)`.
        layer: See `find_attention`.
        index: See `find_attention`.
        at: The position, row and column as shares (0 to 1) of the height and the width.
    """
    attention = layer
    if index is not None:
        features = layer.pools[index](features)
        attention = layer.levels[index].dual_attention
    position_in = attention.position_conv_in(features, training=False)
    channel_in = attention.channel_conv_in(features, training=False)
    rows, columns = position_in.shape[1:3]
    cell = min(int(at[0] * rows), rows - 1), min(int(at[1] * columns), columns - 1)
    scales: Mapping[str, keras.Variable] = attention.attention_scales
    return LevelAttention(
        position_weights(attention.position_attention, position_in, cell),
        cell,
        channel_weights(attention.channel_attention, channel_in),
        float(ops.convert_to_numpy(scales["position"])),
        float(ops.convert_to_numpy(scales["channel"])),
    )


def position_weights(layer: PositionAttention, inputs: Tensor, cell: tuple[int, int]) -> np.ndarray:
    """Returns the weight that one cell gives to each cell.

    Args:
        layer: A built layer.
        inputs: Its input, `(1, rows, columns, channels)`.
        cell: Row and column of the cell.

    Returns:
        `(rows, columns)`, float32: a row of the softmax over keys; the sum is 1.
    """
    query, key = full_precision(layer.query(inputs)), full_precision(layer.key(inputs))
    energy = ops.sum(query[0, cell[0], cell[1]] * key[0], axis=-1)
    values = ops.convert_to_numpy(energy).astype("float64")
    weights = np.exp(values - values.max())
    return (weights / weights.sum()).astype("float32")


def channel_weights(layer: ChannelAttention, inputs: Tensor) -> np.ndarray:
    """Returns the weight that each channel gives to each channel.

    Args:
        layer: A built layer.
        inputs: Its input, `(1, rows, columns, channels)`.

    Returns:
        `(channels, channels)`, float32: the sum of each row is 1.
    """
    features = ops.convert_to_numpy(full_precision(inputs))[0]
    features = features.reshape(-1, features.shape[-1]).astype("float64")
    energy = features.T @ features
    if layer.energy == "dissimilar":
        energy = energy.max(-1, keepdims=True) - energy
    weights = np.exp(energy - energy.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype("float32")
