"""Winograd convolutions equal the backend's convolutions and are used where they are faster."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.ops import convolution, winograd
from pdanet_tf.ops.portable import plain_operations


def tensors(height, width, channels=5, filters=4, batch=2):
    rng = np.random.default_rng(height)
    inputs = rng.standard_normal((batch, height, width, channels))
    kernel = rng.standard_normal((3, 3, channels, filters))
    return [tf.constant(array, "float32") for array in (inputs, kernel)]


def outputs_and_gradients(function, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
        loss = tf.reduce_sum(tf.sin(outputs))
    return outputs, tape.gradient(loss, inputs)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 8), (7, 5), (16, 17), (38, 50)])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
def test_equal_to_a_plain_convolution_gradients_included(size, dilation):
    inputs = tensors(*size)
    found, found_gradients = outputs_and_gradients(
        lambda x, k: winograd.winograd_conv(x, k, dilation), inputs
    )
    expected, expected_gradients = outputs_and_gradients(
        lambda x, k: tf.nn.convolution(x, k, padding="SAME", dilations=dilation), inputs
    )
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


def test_an_empty_batch_stays_empty():
    # A replica gets an empty batch if the last batch has fewer images than there are replicas.
    outputs, gradients = outputs_and_gradients(winograd.winograd_conv, tensors(6, 4, batch=0))
    assert outputs.shape == (0, 6, 4, 4)
    assert gradients[0].shape == (0, 6, 4, 5)
    assert not np.any(gradients[1])


def test_one_graph_serves_every_size():
    signature = [tf.TensorSpec((None, None, None, 5)), tf.TensorSpec((3, 3, 5, 4))]

    @tf.function(input_signature=signature)
    def graph(images, kernel):
        return outputs_and_gradients(lambda x, k: winograd.winograd_conv(x, k, 2), [images, kernel])

    for size in ((6, 9), (13, 4)):
        inputs = tensors(*size, batch=3)
        found, gradients = graph(*inputs)
        expected, others = outputs_and_gradients(
            lambda x, k: tf.nn.convolution(x, k, padding="SAME", dilations=2), inputs
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)
        for one, other in zip(gradients, others, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


def is_used(monkeypatch, kernel_size=3, filters=256, channels=256, dtype="float32"):
    used = []
    original = winograd.winograd_conv
    monkeypatch.setattr(
        convolution, "winograd_conv", lambda *args: used.append(True) or original(*args)
    )
    ConvBatchNorm(filters, kernel_size, dtype=dtype)(np.zeros((1, 4, 4, channels), "float32"))
    return bool(used)


def test_it_is_used_where_it_is_faster(monkeypatch):
    assert is_used(monkeypatch)
    assert not is_used(monkeypatch, channels=128)
    assert not is_used(monkeypatch, filters=128)
    assert not is_used(monkeypatch, kernel_size=1)
    assert not is_used(monkeypatch, dtype="mixed_bfloat16")
    assert not is_used(monkeypatch, dtype="float64")
    with plain_operations():
        assert not is_used(monkeypatch)
    assert is_used(monkeypatch)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"])
    assert not is_used(monkeypatch)
