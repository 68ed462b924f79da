"""Batch norm in one pass equals Keras' batch norm."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.ops.portable import plain_operations

TOLERANCE = {"float32": 1e-5, "mixed_float16": 4e-3, "mixed_bfloat16": 2e-2, "float64": 1e-12}


def call(layer, inputs, training):
    """Returns the outputs and the gradients of the inputs, gamma and beta."""
    inputs = tf.cast(inputs, layer.compute_dtype)
    watched = [inputs, layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        outputs = layer(inputs, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 3)
    return outputs, *tape.gradient(loss, watched)


def make_twins(dtype, channels):
    """Returns our layer and Keras', of one dtype and with the same random variables."""
    layers = (
        BatchNorm(dtype=dtype),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype),
    )
    values = np.random.default_rng(0).uniform(0.5, 1.5, (4, channels))
    for layer in layers:
        layer.build((None, None, None, channels))
        layer.set_weights(values)
    return layers


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 7, 16), (1, 9, 4, 3), (2, 1, 2, 8)])
def test_outputs_gradients_and_averages_are_those_of_keras(dtype, training, shape):
    ours, theirs = make_twins(dtype, shape[-1])
    inputs = 2 * np.random.default_rng(1).standard_normal(shape) + 1
    for one, other in zip(
        (*call(ours, inputs, training), *ours.weights),
        (*call(theirs, inputs, training), *theirs.weights),
        strict=True,
    ):
        assert one.dtype == other.dtype
        one, other = (keras.ops.convert_to_numpy(x).astype("float64") for x in (one, other))
        np.testing.assert_allclose(one, other, atol=TOLERANCE[dtype] * np.abs(other).max(), rtol=0)


@pytest.mark.parametrize("training", [False, True])
def test_plain_operations_use_keras_computation(monkeypatch, training):
    ours, theirs = make_twins("float32", 3)
    inputs = np.random.default_rng(1).standard_normal((2, 5, 7, 3)).astype("float32")
    for name in ("normalize", "normalize_batch"):
        monkeypatch.setattr(f"pdanet_tf.layers.batch_norm.{name}", None)
    with plain_operations():
        found = ours(inputs, training=training)
    np.testing.assert_array_equal(found, theirs(inputs, training=training))
    with pytest.raises(TypeError, match="not callable"):
        ours(inputs, training=training)


def test_frozen_it_normalises_by_the_averages():
    ours, _ = make_twins("float32", 4)
    ours.trainable = False
    inputs = np.random.default_rng(1).standard_normal((2, 3, 5, 4)).astype("float32")
    before = ours.get_weights()
    assert np.array_equal(ours(inputs, training=True), ours(inputs, training=False))
    assert all(map(np.array_equal, before, ours.get_weights()))


def test_one_value_becomes_the_shift():
    ours, _ = make_twins("float32", 4)
    outputs = ours(np.full((1, 1, 1, 4), 3, "float32"), training=True)
    np.testing.assert_allclose(outputs[0, 0, 0], ours.beta, rtol=1e-6)
    assert all(np.isfinite(value).all() for value in ours.get_weights())


def test_an_empty_batch_leaves_the_averages_alone():
    ours, _ = make_twins("float32", 4)
    before = ours.get_weights()
    outputs, _, *gradients = call(ours, np.zeros((0, 2, 3, 4)), training=True)
    assert outputs.shape == (0, 2, 3, 4)
    assert all(map(np.array_equal, before, ours.get_weights()))
    assert not np.any(gradients)
