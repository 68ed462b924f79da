"""Exact softmax attention whose memory does not grow with the square of the number of positions."""

from collections.abc import Callable

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.gradients import call_with_gradient
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.precision import full_precision

# Number of energies that are held in memory at once, per image: 8 MiB in float32. Images with no
# more energies than this are not split into blocks.
_ENERGIES = 2**21


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Returns `softmax(query . key^T) . value`, the softmax over keys, without scaling.

    Energies and softmax are float32 in half precision.

    Images with more than 1448 positions are processed in blocks of queries, so that only the
    energies of one block are in memory at a time. The gradient recomputes them. Under PyTorch, or
    after `keras.config.enable_flash_attention()`, the backend's own attention is used instead.
    Inside `plain_operations` the energies of all positions are computed at once.

    Args:
        query: `(batch, positions, width)`.
        key: `(batch, positions, width)`.
        value: `(batch, positions, channels)`.

    Returns:
        `(batch, positions, channels)`, in the dtype of `value`.
    """
    positions = key.shape[1]  # None if it is known only at run time
    is_small = positions is not None and positions**2 <= _ENERGIES
    if is_small or is_plain():
        return _weighted_sum(_attention(query, key), value)
    if keras.backend.backend() == "torch" or keras.config.is_flash_attention_enabled():
        return _backend_attention(query, key, value)
    return call_with_gradient(_blockwise, query, key, value, energies=_ENERGIES)


def _attention(query: Tensor, key: Tensor) -> Tensor:
    """Returns the weight that each query gives to each key, in at least float32.

    Shapes:
        `(batch, queries, width)` and `(batch, keys, width)` to `(batch, queries, keys)`.
    """
    energy = ops.matmul(full_precision(query), _transpose(full_precision(key)))
    if energy.shape[-1] == 1:
        # The softmax over a single position is 1. It is written as a function of the energy, so
        # that query and key have a gradient (of zero) and weight decay still applies to them.
        return ops.exp(energy - energy)
    return ops.softmax(energy, axis=-1)


def _weighted_sum(attention: Tensor, value: Tensor) -> Tensor:
    return ops.matmul(ops.cast(attention, value.dtype), value)


def _transpose(matrices: Tensor) -> Tensor:
    return ops.transpose(matrices, (0, 2, 1))


def _backend_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Calls the backend's attention, which expects inputs of equal width and an axis of heads."""
    missing = value.shape[-1] - query.shape[-1]
    if missing > 0:  # zeros do not change the products
        query, key = (ops.pad(x, ((0, 0), (0, 0), (0, missing))) for x in (query, key))
    heads = (ops.expand_dims(x, 2) for x in (query, key, value))
    return ops.squeeze(ops.dot_product_attention(*heads, scale=1.0), axis=2)


def _blockwise(
    query: Tensor, key: Tensor, value: Tensor, energies: int
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]:
    """Computes attention block by block; returns the outputs and the gradient function."""
    blocks = _split(query, energies)
    outputs = _join(
        ops.map(lambda block: _weighted_sum(_attention(block, key), value), blocks), query
    )

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Recomputes the attention of each block and accumulates the gradients block by block."""
        output_blocks = _split(outputs, energies)
        upstream_blocks = _split(ops.cast(upstream, outputs.dtype), energies)
        indices = ops.arange(ops.shape(blocks)[0])[:, None, None, None]

        def step(index: Tensor, sums: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            query_gradient, key_gradient, value_gradient = sums
            block, output, change = (
                ops.take(each, index, axis=0) for each in (blocks, output_blocks, upstream_blocks)
            )
            attention = _attention(block, key)
            value_gradient += full_precision(
                ops.matmul(_transpose(ops.cast(attention, value.dtype)), change)
            )
            # The gradient of a softmax. All entries of a row share one term, the sum of attention
            # times its gradient. It equals the sum of the outputs times their gradient.
            attention_gradient = full_precision(ops.matmul(change, _transpose(value)))
            shared = ops.sum(full_precision(change) * full_precision(output), -1, keepdims=True)
            energy_gradient = attention * (attention_gradient - shared)
            block_gradient = ops.matmul(energy_gradient, full_precision(key))
            key_gradient += ops.matmul(_transpose(energy_gradient), full_precision(block))
            query_gradient = ops.where(indices == index, block_gradient, query_gradient)
            return query_gradient, key_gradient, value_gradient

        sums = tuple(ops.zeros_like(full_precision(x)) for x in (blocks, key, value))
        query_gradient, key_gradient, value_gradient = ops.fori_loop(
            0, ops.shape(blocks)[0], step, sums
        )
        return (
            ops.cast(_join(query_gradient, query), query.dtype),
            ops.cast(key_gradient, key.dtype),
            ops.cast(value_gradient, value.dtype),
        )

    return outputs, gradient


def _split(x: Tensor, energies: int) -> Tensor:
    """Splits positions into blocks, `(blocks, batch, positions of a block, width)`.

    A block has at most `energies` energies per image, rounded up to whole queries. The last block
    is padded with zeros.
    """
    batch, positions, width = ops.shape(x)
    # Never more blocks than positions.
    blocks = (positions * positions + energies - 1) // energies
    size = (positions + blocks - 1) // blocks
    padded = ops.pad(x, ((0, 0), (0, blocks * size - positions), (0, 0)))
    return ops.transpose(ops.reshape(padded, (batch, blocks, size, width)), (1, 0, 2, 3))


def _join(blocks: Tensor, like: Tensor) -> Tensor:
    """Reverses `_split`: joins the blocks and removes the padding, to the positions of `like`."""
    number, batch, size, width = ops.shape(blocks)
    joined = ops.reshape(ops.transpose(blocks, (1, 0, 2, 3)), (batch, number * size, width))
    return joined[:, : ops.shape(like)[1]]
