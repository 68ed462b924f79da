"""The pyramid's fusion without upsampled maps equals the plain one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf.layers import PyramidFusion, PyramidPooling


def pyramid(height, width, batch=2, scales=(1, 2, 3, 6), channels=6, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(height, width, channels), *((scale, scale, 5) for scale in scales)]
    return [rng.standard_normal((batch, *shape)).astype("float32") for shape in shapes]


def twins(inputs, filters=4, dtype="float32"):
    """Both ways, with the same weights; batch norm has learnt something."""
    layers = [PyramidFusion(filters, factored, dtype=dtype) for factored in (True, False)]
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


# Smaller than a level, of one row or column, odd, even, and far larger than the levels.
@pytest.mark.parametrize("size", [(1, 7), (5, 1), (2, 3), (7, 10), (13, 12), (38, 50)])
@pytest.mark.parametrize("training", [False, True])
def test_both_ways_are_equal_gradients_included(size, training):
    inputs = pyramid(*size)
    factored, plain = twins(inputs)
    found, found_gradients = outputs_and_gradients(factored, inputs, training)
    expected, expected_gradients = outputs_and_gradients(plain, inputs, training)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())
    for one, other in zip(factored.weights, plain.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # the averages that training moves


@pytest.mark.parametrize("scales", [(1,), (6,), (2, 5), (1, 2, 3, 6, 8)])
@pytest.mark.parametrize("size", [(1, 1), (9, 11)])
def test_any_scales(scales, size):
    inputs = pyramid(*size, scales=scales)
    factored, plain = twins(inputs)
    np.testing.assert_allclose(factored(inputs), plain(inputs), atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("mixed_bfloat16", 0.02), ("mixed_float16", 2e-3)]
)
def test_half_precision_is_as_near_to_the_truth_as_the_plain_way(dtype, tolerance):
    inputs = pyramid(13, 10, channels=32)
    exact, _ = twins(inputs)
    truth = np.asarray(exact(inputs))
    for layer in twins(inputs, dtype=dtype):
        found = layer(inputs)
        assert found.dtype == layer.compute_dtype
        error = np.abs(np.asarray(tf.cast(found, "float32")) - truth).max()
        assert 0 < error < tolerance * np.abs(truth).max()


def test_one_graph_serves_every_size():
    factored, plain = twins(pyramid(3, 3))
    shapes = [tensor.shape[1:] for tensor in pyramid(3, 3)]
    signature = [
        [
            tf.TensorSpec((None, None, None, shape[-1]) if index == 0 else (None, *shape))
            for index, shape in enumerate(shapes)
        ]
    ]
    graph = tf.function(factored, input_signature=signature)
    for size in ((4, 9), (11, 2)):
        inputs = pyramid(*size, batch=3)
        np.testing.assert_allclose(graph(inputs), plain(inputs), atol=1e-4)


def test_the_kernel_by_hand():
    """A level of one position is a constant; at the border taps read padding."""
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


def test_serialisation_keeps_the_way_and_the_shapes():
    inputs = pyramid(5, 7)
    for layer in twins(inputs):
        config = keras.saving.serialize_keras_object(layer)
        again = keras.saving.deserialize_keras_object(config)
        assert again.built
        assert again.factored == layer.factored
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(inputs), layer(inputs))
        assert layer.compute_output_shape([tensor.shape for tensor in inputs]) == (2, 5, 7, 4)


def test_levels_as_they_are():
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
    expected = PyramidFusion(4, factored=False)
    direct = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)
    expected([images, *levels])
    direct.build((None, None, None, 20))
    direct.kernel.assign(expected.conv.kernel)
    np.testing.assert_allclose(
        expected._convolve([images, *levels]), direct(joined(images)), atol=1e-5
    )


@pytest.mark.parametrize("inputs", [np.zeros((1, 3, 3, 2)), [np.zeros((1, 3, 3, 2))]])
def test_what_is_no_pyramid_is_refused(inputs):
    with pytest.raises(ValueError, match=r"list of features .* at least one level"):
        PyramidFusion(4)(inputs)


@pytest.mark.parametrize(
    "name", ["pspnet_resnet18", pytest.param("pdanet_resnet18", marks=pytest.mark.slow)]
)
def test_models_agree_and_exchange_weight_files(name, tmp_path):
    options = {"num_classes": 5, "upsample": False}
    fast = pdanet_tf.build_model(name, **options)
    plain = pdanet_tf.build_model(name, **options, factored_fusion=False)
    rng = np.random.default_rng(0)
    for weight in fast.weights:
        if weight.path.endswith("attention/gamma"):
            weight.assign(0.5)
        elif weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    images = rng.integers(0, 256, (1, 65, 88, 3)).astype("uint8")
    for ending in ("weights.h5", "keras"):
        path = tmp_path / f"{name}.{ending}"
        (fast.save_weights if ending == "weights.h5" else fast.save)(path)
        loaded = pdanet_tf.build_model(name, **options, factored_fusion=False, weights=path)
        found, expected = fast(images), loaded(images)
        np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(expected).max()))
    assert [weight.path for weight in fast.weights] == [weight.path for weight in plain.weights]
