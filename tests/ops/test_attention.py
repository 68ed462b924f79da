"""Attention in blocks of queries equals attention over all positions at once."""

import contextlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers import DualAttention, PositionAttention
from pdanet_tf.ops import attention as dot_product
from pdanet_tf.ops.portable import plain_operations


@pytest.fixture
def few_energies(monkeypatch):
    """Blocks of a few queries, so that a small image has many of them."""
    monkeypatch.setattr(dot_product, "_ENERGIES", 100)


def tensors(positions, batch=2, dtype="float32"):
    rng = np.random.default_rng(positions)
    widths = (3, 3, 8)
    return [tf.cast(2 * rng.standard_normal((batch, positions, width)), dtype) for width in widths]


def outputs_and_gradients(inputs, in_blocks):
    way = contextlib.nullcontext() if in_blocks else plain_operations()
    with way, tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = dot_product.attend(*inputs)
        loss = tf.reduce_sum(tf.sin(tf.cast(outputs, "float32")))
    return outputs, tape.gradient(loss, inputs)


# One block, blocks of several queries, an incomplete last block, and one query per block.
@pytest.mark.parametrize("positions", [1, 2, 10, 11, 23, 37, 101, 150])
@pytest.mark.usefixtures("few_energies")
def test_both_ways_are_equal_gradients_included(positions):
    inputs = tensors(positions)
    found, found_gradients = outputs_and_gradients(inputs, in_blocks=True)
    expected, expected_gradients = outputs_and_gradients(inputs, in_blocks=False)
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
    exact, exact_gradients = outputs_and_gradients(tensors(60), in_blocks=False)
    found, gradients = outputs_and_gradients(tensors(60, dtype=dtype), in_blocks=True)
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
        return outputs_and_gradients(list(inputs), in_blocks=True)

    for positions in (7, 41):
        inputs = tensors(positions, batch=3)
        found, gradients = graph(*inputs)
        expected, expected_gradients = outputs_and_gradients(inputs, in_blocks=False)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for one, other in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.usefixtures("few_energies")
def test_the_layer_uses_blocks_unless_operations_are_plain(monkeypatch):
    calls, blockwise = [], dot_product._blockwise
    monkeypatch.setattr(
        dot_product,
        "_blockwise",
        lambda *args, **options: calls.append(True) or blockwise(*args, **options),
    )
    images = np.random.default_rng(0).standard_normal((2, 5, 9, 16)).astype("float32")
    layer = PositionAttention()
    layer.build(images.shape)
    layer.gamma.assign(0.7)
    found = layer(images)
    assert len(calls) == 1
    with plain_operations():
        expected = layer(images)
    assert len(calls) == 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("few_energies")
def test_a_graph_keeps_the_way_that_it_was_traced_in():
    inputs = tensors(37)
    graph = tf.function(lambda *inputs: dot_product.attend(*inputs))
    with plain_operations():
        plain = graph.get_concrete_function(*inputs)
        assert graph.get_concrete_function(*inputs) is plain
    assert graph.get_concrete_function(*inputs) is plain
    assert not [op for op in plain.graph.get_operations() if "Call" in op.type]
    traced_outside = tf.function(lambda *inputs: dot_product.attend(*inputs))
    operations = traced_outside.get_concrete_function(*inputs).graph.get_operations()
    assert [op for op in operations if "Call" in op.type]  # the graph of the blocks


def test_images_of_few_positions_are_not_split(monkeypatch):
    monkeypatch.setattr(dot_product, "_blockwise", lambda *_: pytest.fail("split into blocks"))
    inputs = tensors(50)
    found = dot_product.attend(*inputs)
    with plain_operations():
        np.testing.assert_array_equal(found, dot_product.attend(*inputs))


@pytest.mark.parametrize("layer", [PositionAttention(2), DualAttention(6, 2)])
@pytest.mark.parametrize("bounded_memory", [True, False])
def test_configs_of_earlier_versions_load(layer, bounded_memory):
    config = {**layer.get_config(), "bounded_memory": bounded_memory}
    assert type(layer).from_config(config).get_config() == layer.get_config()


OTHER_BACKEND = """
import keras, numpy as np
from keras import ops
from pdanet_tf.ops import attention as dot_product
from pdanet_tf.ops.portable import plain_operations
dot_product._ENERGIES = 100
rng = np.random.default_rng(0)
inputs = [ops.array(rng.standard_normal((2, 37, n)).astype("float32")) for n in (3, 3, 8)]
if keras.backend.backend() == "jax":
    import jax
    def results():
        loss = lambda *x: ops.sum(ops.sin(dot_product.attend(*x)))
        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*inputs)
else:
    def results():
        for x in inputs:
            x.requires_grad_(True).grad = None
        loss = ops.sum(ops.sin(dot_product.attend(*inputs)))
        loss.backward()
        return loss, [x.grad for x in inputs]
found, gradients = results()
with plain_operations():
    expected, others = results()
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
    """The backend receives equal widths, one head and no scaling."""
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
    with plain_operations():
        expected = dot_product.attend(*inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
