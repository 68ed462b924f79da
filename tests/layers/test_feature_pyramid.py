"""The layers of UPerNet compute what their definitions say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers import (
    ConvBatchNorm,
    FeaturePyramid,
    PyramidFusion,
    PyramidPooling,
    ResizedConvBatchNorm,
    ResizedPyramidPooling,
)
from pdanet_tf.layers.fusion import join_pyramid

# Of an image whose sides are no multiples of 32.
SIZES = ((11, 15), (6, 8), (3, 4), (2, 2))
CHANNELS = (3, 5, 7, 4)


def stages(batch=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(batch, *size, n) for size, n in zip(SIZES, CHANNELS, strict=True)]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def randomize(layer):
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        low = -1.0 if weight.path.endswith("kernel") else 0.5
        weight.assign(rng.uniform(low, 1.5, weight.shape))
    return layer


def test_the_sums_by_hand():
    """Kernels that hand on one channel leave the sums of the stages and the stretched top."""
    layer = FeaturePyramid(1)
    fine = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
    middle, top = np.full((1, 1, 2, 1), 10, "float32"), np.array([100, 200], "float32")
    inputs = [fine, middle, top.reshape(1, 1, 2, 1)]
    layer(inputs)
    for weight in layer.weights:
        if weight.path.endswith("kernel"):
            kernel = np.zeros(weight.shape, "float32")
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = np.sqrt(1 + 1e-5)
            weight.assign(kernel)
        elif weight.path.endswith("beta"):
            weight.assign([0.0])
    found = [np.ravel(level) for level in layer(inputs)]
    np.testing.assert_allclose(found[2], [100, 200])
    np.testing.assert_allclose(found[1], [110, 210], rtol=1e-5)
    np.testing.assert_allclose(found[0], [110, 110 + 26, 110 + 77, 110 + 103], rtol=1e-5)


def test_one_graph_serves_every_size_and_files_restore_the_layer():
    layer = FeaturePyramid(4)
    inputs = stages()
    layer(inputs)
    expected = randomize(layer)(inputs)
    assert [each.shape for each in expected] == [(2, *size, 4) for size in SIZES]
    assert layer.compute_output_shape([x.shape for x in inputs]) == [x.shape for x in expected]
    signature = [[tf.TensorSpec((None, None, None, channels)) for channels in CHANNELS]]
    graph = tf.function(layer, input_signature=signature)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    twin.set_weights(layer.get_weights())
    for found in (graph(inputs), twin(inputs)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "shapes", [[(1, 2, 2, 4)], [(1, 4, 4, 3), (1, 2, 2, 5)], (1, 2, 2, 4)], ids=str
)
def test_inputs_that_are_no_stages_are_refused(shapes):
    with pytest.raises(ValueError, match=r"at least one stage .* top \(batch, height, width, 4\)"):
        FeaturePyramid(4).build(shapes)


@pytest.mark.parametrize("training", [False, True])
def test_a_convolution_before_resizing_is_that_behind_it(training):
    """The layer is defined as resizing, 1 x 1 convolution, batch norm and ReLU, in this order."""
    rng = np.random.default_rng(0)
    features, like = (
        rng.standard_normal((2, *s)).astype("float32") for s in ((3, 2, 5), (7, 9, 1))
    )
    layer, plain = ResizedConvBatchNorm(4), ConvBatchNorm(4, 1)
    resized = tf.image.resize(features, (7, 9))
    layer([features, like]), plain(resized)
    randomize(layer)
    plain.set_weights(layer.get_weights())
    found = layer([features, like], training=training)
    np.testing.assert_allclose(found, plain(resized, training=training), atol=1e-5)
    for one, other in zip(layer.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # the averages that training moves


def test_the_order_of_resizing_and_relu_matters():
    images = np.random.default_rng(0).standard_normal((1, 5, 7, 16)).astype("float32")
    late, early = ResizedPyramidPooling(4, (1, 2, 3)), PyramidPooling(4, (1, 2, 3))
    late(images), early(images)
    randomize(late)
    early.set_weights(late.get_weights())
    found, other = np.array(late(images)), np.array(early(images))
    np.testing.assert_array_equal(found[..., :20], other[..., :20])  # one bin: nothing to resize
    assert np.all(found[..., 20:] <= other[..., 20:] + 1e-6)  # ReLU is convex
    assert np.abs(found - other).max() > 0.01


def test_levels_of_any_size_are_fused_in_one_graph():
    inputs = stages()
    layer = PyramidFusion(6)
    layer(inputs)
    randomize(layer)
    plain = ConvBatchNorm(6, 3)
    plain(join_pyramid(inputs[0], inputs[1:]))
    plain.set_weights(layer.get_weights())
    expected = plain(join_pyramid(inputs[0], inputs[1:]))
    signature = [[tf.TensorSpec((None, None, None, channels)) for channels in CHANNELS]]
    graph = tf.function(layer, input_signature=signature)
    for found in (layer(inputs), graph(inputs)):
        np.testing.assert_allclose(found, expected, atol=1e-4)
