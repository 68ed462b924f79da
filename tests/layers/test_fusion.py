"""The fusion of a pyramid equals the convolution of the upsampled and concatenated levels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf.layers import PyramidFusion, PyramidPooling
from pdanet_tf.layers.fusion import join_pyramid


class ConcatenatedFusion(PyramidFusion):
    """The definition of the layer: upsample, concatenate, convolve."""

    def _convolve(self, inputs):
        features, *levels = inputs
        return self.conv(join_pyramid(features, levels))


def pyramid(height, width, batch=2, scales=(1, 2, 3, 6), channels=6, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(height, width, channels), *((scale, scale, 5) for scale in scales)]
    return [rng.standard_normal((batch, *shape)).astype("float32") for shape in shapes]


def twins(inputs, filters=4, dtype="float32"):
    """Returns the layer and its definition, with the same random weights."""
    layers = [kind(filters, dtype=dtype) for kind in (PyramidFusion, ConcatenatedFusion)]
    for layer in layers:
        layer(inputs)
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 1.5, weight.shape) for weight in layers[0].get_weights()]
    weights[0] -= 1  # the kernel has both signs
    for layer in layers:
        layer.set_weights(weights)
    return layers


def outputs_and_gradients(layer, inputs, training):
    tensors = [tf.constant(tensor) for tensor in inputs]
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = layer(tensors, training=training)
        loss = tf.reduce_sum(tf.sin(outputs))
    return outputs, tape.gradient(loss, [*tensors, *variables])


# Smaller than a level, one row or column, odd, even, and much larger than the levels.
@pytest.mark.parametrize("size", [(1, 7), (5, 1), (2, 3), (7, 10), (13, 12), (38, 50)])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_gradients_are_those_of_the_concatenation(size, training):
    inputs = pyramid(*size)
    fusion, concatenated = twins(inputs)
    found, found_gradients = outputs_and_gradients(fusion, inputs, training)
    expected, expected_gradients = outputs_and_gradients(concatenated, inputs, training)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())
    for one, other in zip(fusion.weights, concatenated.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # the averages that training moves


@pytest.mark.parametrize("scales", [(1,), (6,), (2, 5), (1, 2, 3, 6, 8)])
@pytest.mark.parametrize("size", [(1, 1), (9, 11)])
def test_any_scales(scales, size):
    inputs = pyramid(*size, scales=scales)
    fusion, concatenated = twins(inputs)
    np.testing.assert_allclose(fusion(inputs), concatenated(inputs), atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("mixed_bfloat16", 0.02), ("mixed_float16", 2e-3)]
)
def test_half_precision_is_as_accurate_as_the_concatenation(dtype, tolerance):
    inputs = pyramid(13, 10, channels=32)
    exact, _ = twins(inputs)
    truth = np.asarray(exact(inputs))
    for layer in twins(inputs, dtype=dtype):
        found = layer(inputs)
        assert found.dtype == layer.compute_dtype
        error = np.abs(np.asarray(tf.cast(found, "float32")) - truth).max()
        assert 0 < error < tolerance * np.abs(truth).max()


def test_one_graph_serves_every_size():
    fusion, concatenated = twins(pyramid(3, 3))
    shapes = [tensor.shape[1:] for tensor in pyramid(3, 3)]
    signature = [
        [
            tf.TensorSpec((None, None, None, shape[-1]) if index == 0 else (None, *shape))
            for index, shape in enumerate(shapes)
        ]
    ]
    graph = tf.function(fusion, input_signature=signature)
    for size in ((4, 9), (11, 2)):
        inputs = pyramid(*size, batch=3)
        np.testing.assert_allclose(graph(inputs), concatenated(inputs), atol=1e-4)


def test_the_kernel_by_hand():
    """A level of one position adds a constant; taps beyond the border read padding."""
    layer = PyramidFusion(1)
    inputs = [np.zeros((1, 3, 4, 1), "float32"), np.full((1, 1, 1, 1), 2.0, "float32")]
    layer(inputs)
    kernel = np.zeros((3, 3, 2, 1), "float32")
    kernel[:, :, 1, 0] = np.arange(1, 10).reshape(3, 3)
    layer.conv.kernel.assign(kernel)
    found = np.squeeze(layer(inputs)) * np.sqrt(1 + 1e-5) - 1e-4
    assert found[1, 1] == pytest.approx(2 * 45, rel=1e-4)
    assert found[0, 0] == pytest.approx(2 * (5 + 6 + 8 + 9), rel=1e-4)
    assert found[2, 3] == pytest.approx(2 * (1 + 2 + 4 + 5), rel=1e-4)
    assert found[1, 0] == pytest.approx(2 * (2 + 3 + 5 + 6 + 8 + 9), rel=1e-4)


def test_serialisation_keeps_the_shapes():
    inputs = pyramid(5, 7)
    layer, _ = twins(inputs)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.built
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs), layer(inputs))
    assert layer.compute_output_shape([tensor.shape for tensor in inputs]) == (2, 5, 7, 4)


@pytest.mark.parametrize("factored", [True, False])
def test_configs_of_earlier_versions_load(factored):
    layer = PyramidFusion(4)
    config = {**layer.get_config(), "factored": factored}
    assert PyramidFusion.from_config(config).get_config() == layer.get_config()


def test_levels_that_are_not_upsampled():
    pooling = PyramidPooling(8, (1, 3), upsample=False)
    images = np.random.default_rng(0).standard_normal((2, 5, 7, 4)).astype("float32")
    levels = pooling(images)
    shapes = [(2, 1, 1, 8), (2, 3, 3, 8)]
    assert [level.shape for level in levels] == shapes
    assert pooling.compute_output_shape(images.shape) == shapes
    assert pooling.get_config()["upsample"] is False
    joined = PyramidPooling(8, (1, 3))
    joined.build(images.shape)
    joined.set_weights(pooling.get_weights())
    fusion = PyramidFusion(4)
    direct = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)
    fusion([images, *levels])
    direct.build((None, None, None, 20))
    direct.kernel.assign(fusion.conv.kernel)
    np.testing.assert_allclose(
        fusion._convolve([images, *levels]), direct(joined(images)), atol=1e-5
    )


@pytest.mark.parametrize("inputs", [np.zeros((1, 3, 3, 2)), [np.zeros((1, 3, 3, 2))]])
def test_inputs_that_are_not_a_pyramid_are_refused(inputs):
    with pytest.raises(ValueError, match=r"list of features .* at least one level"):
        PyramidFusion(4)(inputs)


@pytest.mark.parametrize(
    "name", ["pspnet_resnet18", pytest.param("pdanet_resnet18", marks=pytest.mark.slow)]
)
def test_a_model_computes_what_it_does_with_the_concatenation(name, monkeypatch):
    model = pdanet_tf.build_model(name, num_classes=5, upsample=False)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith("attention/gamma"):
            weight.assign(0.5)
        elif weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    images = rng.integers(0, 256, (1, 65, 88, 3)).astype("uint8")
    found = model(images)
    monkeypatch.setattr(PyramidFusion, "_convolve", ConcatenatedFusion._convolve)
    expected = model(images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(expected).max()))
