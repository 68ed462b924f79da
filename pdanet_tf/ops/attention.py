"""Softmax attention, exact, in memory that does not grow with the square of the image."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.ops.gradients import call_with_gradient
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.precision import full_precision

# Energies that are held at once, per image: 8 MiB. As many positions' energies are held whole.
_ENERGIES = 2**21


def attend(query: Any, key: Any, value: Any, bounded_memory: bool = True) -> Any:
    """Returns `softmax(query . key^T) . value`, the softmax over keys, without scaling.

    Energies and softmax are float32 in half precision.

    Images of many positions go through in blocks of queries, so that the energies of one block
    are held at a time, also for the gradient, which computes them again. Where PyTorch runs, or
    `keras.config.enable_flash_attention()` was called, the backend's own attention does it.

    Args:
        query: `(batch, positions, width)`.
        key: `(batch, positions, width)`.
        value: `(batch, positions, channels)`.
        bounded_memory: With False the energies of all positions are held, for comparison.

    Returns:
        `(batch, positions, channels)`, in the dtype of the values.
    """
    positions = key.shape[1]  # None where it is known only at run time
    is_small = positions is not None and positions**2 <= _ENERGIES
    if is_small or is_plain() or not bounded_memory:
        return _weigh(_attention(query, key), value)
    if keras.backend.backend() == "torch" or keras.config.is_flash_attention_enabled():
        return _fused(query, key, value)
    return call_with_gradient(_blockwise, query, key, value, energies=_ENERGIES)


def _attention(query: Any, key: Any) -> Any:
    """Returns how much each query attends to each key, at least float32."""
    energy = ops.matmul(full_precision(query), _transposed(full_precision(key)))
    if energy.shape[-1] == 1:
        # The softmax over a single position is 1. Written as a function of the energy, so that
        # query and key have a gradient (of zero) and their decay is not skipped.
        return ops.exp(energy - energy)
    return ops.softmax(energy, axis=-1)


def _weigh(attention: Any, value: Any) -> Any:
    return ops.matmul(ops.cast(attention, value.dtype), value)


def _transposed(matrices: Any) -> Any:
    return ops.transpose(matrices, (0, 2, 1))


def _fused(query: Any, key: Any, value: Any) -> Any:
    """Calls the backend's attention, which expects one width for all, and a number of heads."""
    missing = value.shape[-1] - query.shape[-1]
    if missing > 0:  # zeros change no product
        query, key = (ops.pad(x, ((0, 0), (0, 0), (0, missing))) for x in (query, key))
    heads = (ops.expand_dims(x, 2) for x in (query, key, value))
    return ops.squeeze(ops.dot_product_attention(*heads, scale=1.0), axis=2)


def _blockwise(query: Any, key: Any, value: Any, energies: int) -> tuple[Any, Any]:
    """Attends block by block; the second result is the gradient's function."""
    blocks = _split(query, energies)
    outputs = _join(ops.map(lambda block: _weigh(_attention(block, key), value), blocks), query)

    def gradient(upstream: Any) -> tuple[Any, Any, Any]:
        """Computes the attention of each block again, and adds up what keys and values get."""
        output_blocks = _split(outputs, energies)
        upstream_blocks = _split(ops.cast(upstream, outputs.dtype), energies)
        numbers = ops.arange(ops.shape(blocks)[0])[:, None, None, None]

        def step(index: Any, sums: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            for_query, for_key, for_value = sums
            block, output, change = (
                ops.take(each, index, axis=0) for each in (blocks, output_blocks, upstream_blocks)
            )
            attention = _attention(block, key)
            for_value += full_precision(
                ops.matmul(_transposed(ops.cast(attention, value.dtype)), change)
            )
            # The gradient of a softmax; what its rows have in common is read off the outputs.
            change_of_attention = full_precision(ops.matmul(change, _transposed(value)))
            common = ops.sum(full_precision(change) * full_precision(output), -1, keepdims=True)
            change_of_energy = attention * (change_of_attention - common)
            for_block = ops.matmul(change_of_energy, full_precision(key))
            for_key += ops.matmul(_transposed(change_of_energy), full_precision(block))
            return ops.where(numbers == index, for_block, for_query), for_key, for_value

        sums = tuple(ops.zeros_like(full_precision(x)) for x in (blocks, key, value))
        for_query, for_key, for_value = ops.fori_loop(0, ops.shape(blocks)[0], step, sums)
        return (
            ops.cast(_join(for_query, query), query.dtype),
            ops.cast(for_key, key.dtype),
            ops.cast(for_value, value.dtype),
        )

    return outputs, gradient


def _split(x: Any, energies: int) -> Any:
    """Cuts positions into blocks, `(blocks, batch, positions of a block, width)`.

    A block has so many energies per image, rounded up to whole queries; zeros fill up
    the last block.
    """
    batch, positions, width = ops.shape(x)
    # Never more blocks than positions.
    blocks = (positions * positions + energies - 1) // energies
    size = (positions + blocks - 1) // blocks
    padded = ops.pad(x, ((0, 0), (0, blocks * size - positions), (0, 0)))
    return ops.transpose(ops.reshape(padded, (batch, blocks, size, width)), (1, 0, 2, 3))


def _join(blocks: Any, like: Any) -> Any:
    """Joins what was cut, without what filled it up."""
    number, batch, size, width = ops.shape(blocks)
    joined = ops.reshape(ops.transpose(blocks, (1, 0, 2, 3)), (batch, number * size, width))
    return joined[:, : ops.shape(like)[1]]
