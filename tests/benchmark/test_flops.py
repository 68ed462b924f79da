"""Operations counted, against the closed forms."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf import layers
from pdanet_tf.benchmark.flops import count_flops

SIZE = (33, 47)


def conv(kernel, inputs, outputs, height, width):
    """Two operations for each tap of each position."""
    return 2 * kernel * kernel * inputs * outputs * height * width


def count(layer, channels=3, size=SIZE):
    images = keras.Input((None, None, channels))
    return count_flops(keras.Model(images, layer(images)), size)


class Product(keras.layers.Layer):
    """A . A^T of an image's rows, or A^T . A, in TensorFlow's own words."""

    def __init__(self, transpose_a):
        super().__init__()
        self.transpose_a = transpose_a

    def call(self, inputs):
        matrix = tf.reshape(inputs, (1, SIZE[0], -1))
        return tf.matmul(matrix, matrix, self.transpose_a, not self.transpose_a)


class Einsum(keras.layers.Layer):
    """An einsum of an image, and of a (5, 7) matrix if there is a comma."""

    def __init__(self, equation):
        super().__init__()
        self.equation = equation

    def call(self, inputs):
        matrix = [tf.zeros((5, 7))] if "," in self.equation else []
        return tf.einsum(self.equation, inputs, *matrix)


@pytest.mark.parametrize(
    ("layer", "channels", "expected"),
    [
        (keras.layers.Conv2D(8, 3, padding="same"), 3, conv(3, 3, 8, 33, 47)),
        (keras.layers.Conv2D(8, 3), 3, conv(3, 3, 8, 31, 45)),
        (layers.ConvBatchNorm(8, 3, strides=2), 3, conv(3, 3, 8, 17, 24)),
        # No multiple of the dilation fits the image.
        (layers.ConvBatchNorm(8, 3, dilation_rate=5), 3, conv(3, 3, 8, 33, 47)),
        (layers.ConvBatchNorm(8, 3, strides=1, dilation_rate=36), 3, conv(3, 3, 8, 33, 47)),
        (keras.layers.Conv2D(8, 3, padding="same", groups=4), 16, conv(3, 4, 8, 33, 47)),
        (keras.layers.DepthwiseConv2D(3, padding="same"), 16, conv(3, 1, 16, 33, 47)),
        (
            keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=4),
            16,
            conv(3, 1, 16, 33, 47),
        ),
        # Every position of the input meets all taps.
        (keras.layers.Conv2DTranspose(8, 3, strides=2), 5, conv(3, 5, 8, 33, 47)),
        (keras.layers.Dense(8), 5, conv(1, 5, 8, 33, 47)),
        (Product(transpose_a=False), 5, 2 * 33 * 33 * (47 * 5)),
        (Product(transpose_a=True), 5, 2 * (47 * 5) * (47 * 5) * 33),
        (Einsum("bhwc,cn->bhwn"), 5, conv(1, 5, 7, 33, 47)),
        (Einsum("...c,cn->...n"), 5, conv(1, 5, 7, 33, 47)),
        (Einsum("...wc,cn->...wn"), 5, conv(1, 5, 7, 33, 47)),
        (Einsum("b...c,cn->b...n"), 5, conv(1, 5, 7, 33, 47)),
        (Einsum("bhwc,cn->bn"), 5, 2 * 5 * 7),  # the image is summed first
        (Einsum("bhwc->bwhc"), 5, 0),
        # Rows first, then columns.
        (layers.AdaptiveAveragePooling(6), 5, 2 * 5 * (6 * 33 * 47 + 6 * 6 * 47)),
        (keras.layers.BatchNormalization(), 5, 0),
        (keras.layers.MaxPooling2D(), 5, 0),
    ],
)
def test_one_layer(layer, channels, expected):
    assert count(layer, channels) == expected


def test_fusion_of_the_pyramid():
    fusion = keras.layers.Conv2D(512, 3, padding="same", use_bias=False)
    assert count(fusion, 512 + 4 * 512, (64, 64)) == 96_636_764_160
    assert conv(3, 2560, 512, 64, 64) == 96_636_764_160


@pytest.mark.parametrize("size", [(5, 10), (40, 45)])  # of 1800 positions one block is too few
def test_attention(size):
    """Energies of all positions, of a width of 64 / 8, or of 64 x 64 channels; what they weigh."""
    channels, positions = 64, math.prod(size)
    projections = 2 * positions * channels * (8 + 8 + 64)
    products = 2 * positions**2 * (8 + 64)
    assert count(layers.PositionAttention(), channels, size) == projections + products
    products = 2 * (2 * positions * channels**2)
    assert count(layers.ChannelAttention(), channels, size) == products


def fcn_resnet18(classes, size):
    """He et al. 2015, table 1, with the deep stem, at output stride 8; size is a multiple of 8."""
    half, quarter, eighth = size // 2, size // 4, size // 8
    total = conv(3, 3, 64, half, half) + conv(3, 64, 64, half, half)
    total += conv(3, 64, 128, half, half)
    channels, side = 128, quarter
    for filters, side in ((64, quarter), (128, eighth), (256, eighth), (512, eighth)):
        total += conv(3, channels, filters, side, side) + 3 * conv(3, filters, filters, side, side)
        if channels != filters:
            total += conv(1, channels, filters, side, side)
        channels = filters
    total += conv(3, 512, 128, side, side) + conv(1, 128, classes, side, side)
    # Rows are interpolated first: (size, side) by (side, side * classes), then columns.
    return total + 2 * classes * size * side * (side + size)


@pytest.mark.parametrize("size", [64, 104])
def test_a_whole_model(size):
    model = pdanet_tf.build_model("fcn_resnet18", num_classes=5)
    assert count_flops(model, (size, size)) == fcn_resnet18(5, size)


def test_counting_computes_nothing_and_leaves_no_setting_changed():
    model = pdanet_tf.build_model("fcn_resnet18", num_classes=5)
    before = model.get_weights()
    assert count_flops(model, (4096, 8192)) > 1e12  # its logits alone would take 640 MiB
    assert not tf.config.functions_run_eagerly()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_is_refused(monkeypatch):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(2, 1)(images))
    with pytest.raises(ValueError, match=r"size=\(0, 8\)"):
        count_flops(model, (0, 8))

    class Positive(keras.layers.Layer):
        def call(self, inputs):
            return tf.boolean_mask(inputs[0, 0], inputs[0, 0, :, 0] > 0)[None, None]

        def compute_output_shape(self, input_shape):
            return (1, 1, None, 3)

    unknown = keras.Model(images, keras.layers.Conv2D(2, 1)(Positive()(images)))
    with pytest.raises(ValueError, match=r"image's size\. Received: .*shape \(1, 1, None, 2\)"):
        count_flops(unknown)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        count_flops(model)
