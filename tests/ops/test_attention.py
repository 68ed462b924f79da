"""Attention by blocks of queries equals attention over all positions at once."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers import PositionAttention
from pdanet_tf.ops import attention as dot_product


@pytest.fixture
def few_energies(monkeypatch):
    """Blocks of a few queries, so that small images take many."""
    monkeypatch.setattr(dot_product, "_ENERGIES", 100)


def tensors(positions, batch=2, dtype="float32"):
    rng = np.random.default_rng(positions)
    widths = (3, 3, 8)
    return [tf.cast(2 * rng.standard_normal((batch, positions, width)), dtype) for width in widths]


def outputs_and_gradients(inputs, bounded_memory):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = dot_product.attend(*inputs, bounded_memory)
        loss = tf.reduce_sum(tf.sin(tf.cast(outputs, "float32")))
    return outputs, tape.gradient(loss, inputs)


# One block, blocks of several queries, an incomplete last block, and a query per block.
@pytest.mark.parametrize("positions", [1, 2, 10, 11, 23, 37, 101, 150])
@pytest.mark.usefixtures("few_energies")
def test_both_ways_are_equal_gradients_included(positions):
    inputs = tensors(positions)
    found, found_gradients = outputs_and_gradients(inputs, True)
    expected, expected_gradients = outputs_and_gradients(inputs, False)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max() + 1e-7)


def test_a_block_holds_no_more_energies_than_it_may():
    for positions in range(1, 200):
        blocks = dot_product._split(tensors(positions)[0], energies=100)
        number, _, size, _ = blocks.shape
        assert size * positions < 100 + positions
        assert number * size >= positions
        joined = dot_product._join(blocks, tensors(positions)[0])
        np.testing.assert_array_equal(joined, tensors(positions)[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.usefixtures("few_energies")
def test_half_precision(dtype):
    exact, exact_gradients = outputs_and_gradients(tensors(60), False)
    found, gradients = outputs_and_gradients(tensors(60, dtype=dtype), True)
    tolerance = 0.05 if dtype == "bfloat16" else 0.006
    assert found.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(found, "float32"), exact, atol=tolerance * np.abs(exact).max()
    )
    for one, other in zip(gradients, exact_gradients, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(
            tf.cast(one, "float32"), other, atol=2 * tolerance * np.abs(other).max()
        )


@pytest.mark.usefixtures("few_energies")
def test_one_graph_serves_every_size_and_its_gradient_too():
    signature = [tf.TensorSpec((None, None, width)) for width in (3, 3, 8)]

    @tf.function(input_signature=signature)
    def graph(*inputs):
        return outputs_and_gradients(list(inputs), True)

    for positions in (7, 41):
        inputs = tensors(positions, batch=3)
        found, gradients = graph(*inputs)
        expected, expected_gradients = outputs_and_gradients(inputs, False)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for one, other in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.usefixtures("few_energies")
def test_the_layer_takes_either_way_with_the_same_weights():
    images = np.random.default_rng(0).standard_normal((2, 5, 9, 16)).astype("float32")
    bounded, plain = PositionAttention(), PositionAttention(bounded_memory=False)
    for layer in (bounded, plain):
        layer.build(images.shape)
        layer.gamma.assign(0.7)
    plain.set_weights(bounded.get_weights())
    np.testing.assert_allclose(bounded(images), plain(images), atol=1e-5)
    assert plain.get_config()["bounded_memory"] is False


def test_few_positions_are_not_cut(monkeypatch):
    monkeypatch.setattr(dot_product, "_blockwise", lambda *_: pytest.fail("cut into blocks"))
    inputs = tensors(50)
    np.testing.assert_array_equal(
        dot_product.attend(*inputs), dot_product.attend(*inputs, bounded_memory=False)
    )


OTHER_BACKEND = """
import keras, numpy as np
from keras import ops
from pdanet_tf.ops import attention as dot_product
dot_product._ENERGIES = 100
rng = np.random.default_rng(0)
inputs = [ops.array(rng.standard_normal((2, 37, n)).astype("float32")) for n in (3, 3, 8)]
if keras.backend.backend() == "jax":
    import jax
    def results(bounded):
        loss = lambda *x: ops.sum(ops.sin(dot_product.attend(*x, bounded)))
        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*inputs)
else:
    def results(bounded):
        for x in inputs:
            x.requires_grad_(True).grad = None
        loss = ops.sum(ops.sin(dot_product.attend(*inputs, bounded)))
        loss.backward()
        return loss, [x.grad for x in inputs]
(found, gradients), (expected, others) = results(True), results(False)
pairs = zip([found, *gradients], [expected, *others], strict=True)
for one, other in pairs:
    one, other = map(ops.convert_to_numpy, (one, other))
    np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())
"""


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.extra)])
def test_other_backends(backend, monkeypatch):
    pytest.importorskip(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    subprocess.run([sys.executable, "-c", OTHER_BACKEND], check=True)


def test_flash_attention_is_used_where_it_was_asked_for(monkeypatch):
    """What is handed to the backend: equal widths, one head, no scaling."""
    seen = {}

    def attention(query, key, value, scale):
        seen.update(query=query, key=key, value=value, scale=scale)
        weights = tf.nn.softmax(scale * tf.einsum("bqhd,bkhd->bhqk", query, key))
        return tf.einsum("bhqk,bkhd->bqhd", weights, value)

    monkeypatch.setattr(dot_product, "_ENERGIES", 100)
    monkeypatch.setattr(keras.config, "is_flash_attention_enabled", lambda: True)
    monkeypatch.setattr(dot_product.ops, "dot_product_attention", attention)
    inputs = tensors(23)
    found = dot_product.attend(*inputs)
    assert [seen[name].shape for name in ("query", "key", "value")] == [(2, 23, 1, 8)] * 3
    assert seen["scale"] == 1.0
    expected = dot_product.attend(*inputs, bounded_memory=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
