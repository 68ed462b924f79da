import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf import layers
from pdanet_tf.base.choices import NORMALIZATIONS
from pdanet_tf.models.deeplab import atrous_head
from pdanet_tf.ops.resize import bilinear_resize


def run_layer_test(layer, shape, expected_shape):
    """Builds, runs, differentiates, serialises and halves the precision of a layer."""
    inputs = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    symbolic = layer(keras.Input((None, None, shape[-1])))
    assert symbolic.shape[-1] == expected_shape[-1]
    outputs = layer(inputs)
    assert outputs.shape == (2, *expected_shape)
    assert layer.compute_output_shape((2, *shape)) == (2, *expected_shape)
    if layer.trainable_variables:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(inputs, training=True) ** 2)
        gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
        missing = [
            variable.path
            for variable, gradient in zip(layer.trainable_variables, gradients, strict=True)
            if gradient is None
        ]
        assert missing == []
        outputs = layer(inputs)  # training has changed the averages of batch norm

    config = keras.saving.serialize_keras_object(layer)
    twin = keras.saving.deserialize_keras_object(config)
    assert twin.built
    twin.set_weights(layer.get_weights())
    np.testing.assert_allclose(twin(inputs), outputs, atol=1e-6)
    assert twin.get_config() == layer.get_config()

    # One graph serves every size.
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, shape[-1]))])
    np.testing.assert_allclose(graph(inputs), outputs, atol=1e-5)

    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    half.build((None, *shape))
    half.set_weights(layer.get_weights())
    precise = isinstance(
        layer,
        layers.AuxiliaryHead
        | layers.Classifier
        | layers.ContextModule
        | layers.FullPrecisionConvBatchNorm,
    )
    assert half(inputs).dtype == ("float32" if precise else "bfloat16")
    np.testing.assert_allclose(
        keras.ops.cast(half(inputs), "float32"), outputs, atol=0.1 * float(np.abs(outputs).max())
    )


@pytest.mark.parametrize(
    ("layer", "shape", "expected_shape"),
    [
        (layers.ConvBatchNorm(6, 3), (7, 10, 4), (7, 10, 6)),
        (layers.ConvBatchNorm(6, 3, strides=2), (7, 10, 4), (4, 5, 6)),
        (layers.ConvBatchNorm(6, 1, strides=2, activation=None), (7, 10, 4), (4, 5, 6)),
        (layers.ConvBatchNorm(6, 3, dilation_rate=2), (7, 10, 4), (7, 10, 6)),
        (layers.DepthwiseConvBatchNorm(4, 3), (7, 10, 4), (7, 10, 4)),
        (layers.DepthwiseConvBatchNorm(4, 3, strides=2), (7, 10, 4), (4, 5, 4)),
        (layers.DepthwiseConvBatchNorm(4, 3, dilation_rate=2), (7, 10, 4), (7, 10, 4)),
        (layers.BatchNorm(), (7, 10, 4), (7, 10, 4)),
        (layers.FullPrecisionConvBatchNorm(6, 3), (7, 10, 4), (7, 10, 6)),
        (layers.AdaptiveAveragePooling(3), (7, 10, 4), (3, 3, 4)),
        (layers.AdaptiveAveragePooling(6), (5, 3, 4), (6, 6, 4)),
        (layers.DenseMaxPooling(2), (7, 10, 4), (7, 10, 4)),
        (layers.PixelNormalization("torch"), (7, 10, 3), (7, 10, 3)),
        (layers.PixelNormalization("caffe"), (7, 10, 3), (7, 10, 3)),
        (layers.PositionAttention(), (5, 7, 16), (5, 7, 16)),
        (layers.PositionAttention(reduction=1), (1, 1, 4), (1, 1, 4)),
        (layers.ChannelAttention(), (5, 7, 16), (5, 7, 16)),
        (layers.ChannelAttention("similar"), (5, 7, 16), (5, 7, 16)),
        (layers.DualAttention(6), (5, 7, 16), (5, 7, 6)),
        (layers.PyramidPooling(8, (1, 2, 3)), (5, 7, 16), (5, 7, 40)),
        (layers.ResizedPyramidPooling(8, (1, 2, 3)), (5, 7, 16), (5, 7, 40)),
        (layers.AuxiliaryHead(6), (5, 7, 16), (5, 7, 6)),
        (layers.Classifier(6, 1), (5, 7, 16), (5, 7, 6)),
        (layers.AtrousSpatialPyramidPooling(6, (1, 2)), (5, 7, 16), (5, 7, 6)),
        (layers.ImagePooling(6), (5, 7, 16), (5, 7, 6)),
        (layers.ContextModule("basic"), (9, 7, 3), (9, 7, 3)),
        (layers.ContextModule("large"), (9, 7, 3), (9, 7, 3)),
        (layers.ContextModule("basic", num_layers=7), (9, 7, 3), (9, 7, 3)),
        (layers.ContextModule("large", pad_once=True), (9, 7, 3), (9, 7, 3)),
        (layers.LocalResponseNormalization(5, alpha=0.1), (7, 10, 3), (7, 10, 3)),
        (layers.ReflectionPadding(3, 4), (7, 10, 3), (14, 18, 3)),
        (layers.BilinearRescale(0.75), (7, 10, 3), (5, 7, 3)),
        (layers.AttentionLevel(8), (3, 3, 16), (3, 3, 8)),
        (layers.PyramidDualAttention(8, (1, 2)), (5, 7, 16), (5, 7, 32)),
    ],
    ids=lambda value: value.name if isinstance(value, keras.layers.Layer) else None,
)
def test_layer(layer, shape, expected_shape):
    run_layer_test(layer, shape, expected_shape)


def test_resize_like_takes_the_size_of_its_second_input():
    layer = layers.BilinearResizeLike()
    images, like = np.ones((2, 3, 5, 4), "float32"), np.ones((2, 7, 6, 1), "float32")
    assert layer([images, like]).shape == (2, 7, 6, 4)
    assert layer.compute_output_shape([images.shape, like.shape]) == (2, 7, 6, 4)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("float32", "float32"), ("mixed_float16", "float32"), ("float64", "float64")],
)
def test_scores_are_precise_under_every_policy(policy, expected):
    scores = np.ones((2, 3, 5, 4), expected)
    total = layers.ScoreSum(dtype=policy)([scores, scores])
    resized = layers.BilinearResizeLike(dtype=policy)([total, np.ones((2, 7, 6, 1), "float16")])
    marked = layers.Stretched(dtype=policy)(total)
    assert total.dtype == resized.dtype == marked.dtype == expected
    symbols = [keras.KerasTensor(x.shape, x.dtype) for x in (total, total)]
    assert layers.BilinearResizeLike(dtype=policy)(symbols).dtype == expected


def test_adaptive_pooling_by_hand():
    # Three columns in two bins: columns 0 and 1, and columns 1 and 2.
    line = np.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)
    pooled = layers.AdaptiveAveragePooling(2)(np.repeat(line, 2, axis=1))
    np.testing.assert_allclose(np.squeeze(pooled), [[1.5, 4.0], [1.5, 4.0]])


def test_bilinear_resize_by_hand():
    # The four outputs are centred at -1/4, 1/4, 3/4 and 5/4 of the two inputs. Outputs beyond the
    # first or the last input take its value.
    line = np.array([0.0, 4.0], "float32").reshape(1, 1, 2, 1)
    np.testing.assert_allclose(np.ravel(bilinear_resize(line, (1, 4))), [0.0, 1.0, 3.0, 4.0])


@pytest.mark.parametrize("size", [(5, 7), (40, 56), (41, 57), (3, 2), (12, 1)])
def test_bilinear_resize_equals_tensorflow(size):
    images = np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype("float32")
    expected = tf.image.resize(images, size, method="bilinear")
    np.testing.assert_allclose(bilinear_resize(images, size), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 7), (17, 25), (3, 2), (12, 1)])
def test_aligned_corners_equal_pytorch(size):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    images = np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype("float32")
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2))
    expected = torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=True)
    layer = layers.BilinearResizeLike(align_corners=True)
    layer = layers.BilinearResizeLike.from_config(layer.get_config())
    found = layer([images, np.zeros((2, *size, 1), "float32")])
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)
    with pytest.raises(ValueError, match=r"align_corners stretches the input.*stride=8"):
        layers.BilinearResizeLike(8, align_corners=True)


def test_strided_convolution_pads_symmetrically():
    layer = layers.ConvBatchNorm(1, 3, strides=2, activation=None, kernel_initializer="ones")
    image = np.zeros((1, 4, 4, 1), "float32")
    image[0, 0, 0, 0] = 1.0
    # The first window is centred on pixel (0, 0), and no other window contains that pixel.
    response = np.squeeze(layer(image)) * np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(response, [[1, 0], [0, 0]], atol=1e-6)


def dilated_convolution(image, kernel, rate):
    """PDANet's equation 1: y[i] = sum over k of x[i + rate * k] w[k], zeros outside."""
    height, width, _ = image.shape
    outputs = np.zeros((height, width, kernel.shape[-1]))
    for i, j, k, m in np.ndindex(height, width, *kernel.shape[:2]):
        y, x = i + rate * (k - len(kernel) // 2), j + rate * (m - len(kernel) // 2)
        if 0 <= y < height and 0 <= x < width:
            outputs[i, j] += image[y, x] @ kernel[k, m]
    return outputs


def conv_batch_norm(image, layer, rate=1):
    """Computes a `ConvBatchNorm` with loops."""
    features = dilated_convolution(image, layer.conv.kernel.numpy(), rate)
    gamma, beta, mean, variance = (weight.numpy() for weight in layer.batch_norm.weights)
    return np.maximum((features - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)


def randomize(weights):
    """Draws all variables, also biases, scales and statistics, which start at 0 or 1."""
    rng = np.random.default_rng(0)
    for weight in weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(rng.normal(0, 0.5, weight.shape))


def test_dilated_convolution_by_loops():
    layer = layers.ConvBatchNorm(2, 3, dilation_rate=3, activation=None)
    image = np.random.default_rng(0).standard_normal((1, 8, 7, 2)).astype("float32")
    found = layer(image) * np.sqrt(1 + 1e-5)
    expected = dilated_convolution(image[0], layer.conv.kernel.numpy(), 3)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_atrous_spatial_pyramid_pooling_by_loops():
    """PDANet's equations 4 and 5: parallel convolutions of several rates, concatenated."""
    image = np.random.default_rng(0).standard_normal((6, 5, 2)).astype("float32")
    layer = layers.AtrousSpatialPyramidPooling(4, (2, 3))
    layer.build((None, *image.shape))
    randomize(layer.weights)
    branches = [
        conv_batch_norm(image, branch, rate)
        for branch, rate in zip(layer.branches, (1, 2, 3), strict=True)
    ]
    average = conv_batch_norm(image.mean((0, 1), keepdims=True), layer.image_branch)
    branches.append(np.broadcast_to(average, branches[0].shape))
    assert all(branch.any() for branch in branches)
    expected = conv_batch_norm(np.concatenate(branches, axis=-1), layer.projection)
    np.testing.assert_allclose(layer(image[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("hidden_filters", [None, 4])
def test_scores_of_several_rates_by_loops(hidden_filters):
    """PDANet's equation 4 as in DeepLab v2: the scores of all rates are summed."""
    image = np.random.default_rng(0).standard_normal((6, 5, 2)).astype("float32")
    features = keras.Input(image.shape)
    scores = atrous_head({"C5": features}, 3, 0.5, (1, 3), hidden_filters)
    model = keras.Model(features, scores)
    randomize(model.weights)

    def convolve(x, name, rate=1):
        kernel, bias = (weight.numpy() for weight in model.get_layer(name).weights)
        return dilated_convolution(x, kernel, rate) + bias

    expected = 0
    for index, rate in enumerate((1, 3)):
        name = f"branch_{index}"
        if hidden_filters is None:
            expected = expected + convolve(image, f"{name}_classifier", rate)
        else:
            x = np.maximum(convolve(image, f"{name}_fc6", rate), 0)
            x = np.maximum(convolve(x, f"{name}_fc7"), 0)
            expected = expected + convolve(x, f"{name}_classifier")
    np.testing.assert_allclose(model(image[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["basic", "large"])
def test_a_context_module_without_noise_is_the_identity(variant):
    inputs = np.random.default_rng(0).random((2, 9, 7, 3)).astype("float32")
    outputs = layers.ContextModule(variant, noise=0.0)(inputs)
    np.testing.assert_allclose(outputs, inputs, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_masks_in_half_precision_distinguish_close_features(policy):
    # All four are 1 in half precision.
    features = np.array([[1.0, 1.00001], [1.00003, 1.00002]], "float32").reshape(1, 2, 2, 1)
    pool = layers.MaxPoolingWithMask(dtype=policy)
    symbols = pool(keras.Input((None, None, 1), dtype="float32"))
    maxima, mask = pool(features)
    assert maxima.dtype == mask.dtype == symbols[0].dtype == symbols[1].dtype
    assert maxima.dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(np.squeeze(keras.ops.cast(mask, "int32")), [[0, 0], [1, 0]])
    restored = layers.MaxUnpooling(dtype=policy)([maxima, mask])
    np.testing.assert_array_equal(np.squeeze(keras.ops.cast(restored, "int32")), [[0, 0], [1, 0]])


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 1)])
def test_unpooling_puts_every_maximum_back(size):
    # All values differ, so every window has one maximum.
    values = np.random.default_rng(0).permutation(2 * size[0] * size[1] * 3) + 1.0
    inputs = values.reshape(2, *size, 3).astype("float32")
    pool = layers.MaxPoolingWithMask()
    pooled, mask = pool(inputs)
    assert pool.compute_output_shape(inputs.shape) == (pooled.shape, mask.shape)
    expected = tf.nn.max_pool2d(inputs, 2, 2, "SAME")
    np.testing.assert_array_equal(pooled, expected)
    restored = layers.MaxUnpooling()([pooled, mask])
    np.testing.assert_array_equal(restored, inputs * mask)
    assert np.count_nonzero(restored) == np.size(pooled)
    # With zeros everywhere, one position of each window is marked, and none in the padding.
    _, ties = pool(np.zeros_like(inputs))
    assert np.sum(ties) == np.size(pooled)


def test_normalization_by_hand():
    pixel = np.array([[[[255.0, 0.0, 127.5]]]], "float32")
    torch = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.5 - 0.406) / 0.225]
    np.testing.assert_allclose(
        np.ravel(layers.PixelNormalization("torch")(pixel)), torch, rtol=1e-5
    )
    caffe = [127.5 - 102.9801, -115.9465, 255 - 122.7717]
    np.testing.assert_allclose(
        np.ravel(layers.PixelNormalization("caffe")(pixel)), caffe, rtol=1e-5
    )
    for normalization in NORMALIZATIONS:
        mean = np.array(layers.pixel_mean(normalization)).reshape(1, 1, 1, 3)
        np.testing.assert_allclose(layers.PixelNormalization(normalization)(mean), 0, atol=1e-5)


def test_position_attention_by_hand():
    layer = layers.PositionAttention(reduction=1)
    layer.build((None, 1, 2, 1))
    one = np.ones((1, 1, 1, 1))
    zero = np.zeros(1)
    layer.set_weights([np.array(2.0), one, zero, one, zero, one, zero])
    # Energies of the positions with values 0 and 1: rows (0, 0) and (0, 1).
    share = np.e / (1 + np.e)
    outputs = layer(np.array([0.0, 1.0]).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(np.ravel(outputs), [2 * 0.5 + 0, 2 * share + 1], rtol=1e-6)


@pytest.mark.parametrize(("energy", "sign"), [("dissimilar", -1), ("similar", 1)])
def test_channel_attention_by_hand(energy, sign):
    layer = layers.ChannelAttention(energy)
    layer.build((None, 1, 1, 2))
    layer.set_weights([np.array(1.0)])
    # One position with channels 1 and 2: energies (1, 2) and (2, 4).
    attention = [np.exp(sign * np.array(row)) for row in ((1.0, 2.0), (2.0, 4.0))]
    attended = [row @ (1.0, 2.0) / row.sum() for row in attention]
    outputs = layer(np.array([1.0, 2.0]).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(np.ravel(outputs), np.add(attended, (1.0, 2.0)), rtol=1e-6)


def test_a_new_attention_is_the_identity():
    inputs = np.random.default_rng(0).standard_normal((2, 3, 4, 8)).astype("float32")
    for layer in (layers.PositionAttention(), layers.ChannelAttention()):
        np.testing.assert_array_equal(layer(inputs), inputs)


def test_channel_energies_do_not_overflow_in_float16():
    layer = layers.ChannelAttention(dtype="mixed_float16")
    inputs = np.full((1, 64, 64, 4), 20.0, "float16")  # energies of 1.6 million
    layer(inputs)
    layer.gamma.assign(1.0)
    assert np.isfinite(layer(inputs)).all()


def layer_classes():
    """Returns the classes of layers, also of private ones, that modules of `layers` define."""
    modules = [
        importlib.import_module(f"{layers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(layers.__path__)
    ]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, keras.layers.Layer)
        and value.__module__ == module.__name__
    }


def test_keras_can_load_every_layer_and_users_can_name_it():
    found = layer_classes()
    assert layers.ConvBatchNorm in found
    for each in sorted(found, key=lambda each: each.__name__):
        if each.__name__.startswith("_"):  # a base class
            continue
        registered = keras.saving.get_registered_object(f"pdanet_tf>{each.__name__}")
        assert registered is each, (
            f"{each.__qualname__} in {each.__module__} requires "
            '@keras.saving.register_keras_serializable(package="pdanet_tf")'
        )
        assert each.__name__ in layers.__all__, (
            f"list {each.__name__} in pdanet_tf/layers/__init__.py, or begin its name with _"
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.AdaptiveAveragePooling(0), "output_size=0"),
        (lambda: layers.PositionAttention(0), "reduction=0"),
        (lambda: layers.ChannelAttention("max"), "energy='max'"),
        (lambda: layers.PixelNormalization("tf"), "normalization='tf'"),
        (
            lambda: layers.AdaptiveAveragePooling("3"),
            "output_size must be an integer.*='3'",
        ),
        (lambda: layers.DenseMaxPooling(0), "dilation_rate must be at least 1.*dilation_rate=0"),
        (lambda: layers.BilinearResizeLike(0), "stride must be at least 1.*stride=0"),
        (lambda: layers.BilinearResizeLike(8, "a"), "first must be a finite number.*first='a'"),
        (lambda: layers.ConvBatchNorm(4, 2, strides=2), "kernel_size must be odd.*kernel_size=2"),
        (lambda: layers.ConvBatchNorm(4, 0), "kernel_size must be at least 1.*kernel_size=0"),
        (lambda: layers.ConvBatchNorm(0, 3), "filters must be at least 1.*filters=0"),
        (lambda: layers.ConvBatchNorm(4, 3, strides=0), "strides=0"),
        (lambda: layers.ConvBatchNorm(4, 3, dilation_rate=0), "dilation_rate=0"),
        (lambda: layers.PositionAttention("8"), "reduction must be an integer.*reduction='8'"),
        (lambda: layers.PyramidPooling(0), "filters=0"),
        (lambda: layers.PyramidPooling(8, ()), r"pool_scales must hold at least one.*=\(\)"),
        (lambda: layers.PyramidPooling(8, (1, 0)), r"none below 1.*pool_scales=\(1, 0\)"),
        (
            lambda: layers.PyramidPooling(8, "12"),
            "a sequence of integers.*pool_scales='12'",
        ),
        (lambda: layers.PyramidDualAttention(8, 6), "pool_scales must be a sequence of integers"),
        (lambda: layers.AtrousSpatialPyramidPooling(8, ()), r"dilation_rates=\(\)"),
        (lambda: layers.AtrousSpatialPyramidPooling(8, "6"), "dilation_rates='6'"),
        (lambda: layers.AtrousSpatialPyramidPooling(8, (0, 6)), r"dilation_rates=\(0, 6\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
