"""Weights of KerasHub and Keras in this package's backbones, and their backbones in its models."""

import sys

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.weights import imagenet as sources
from tests.support.hub_models import randomize

DEPTHS = {
    "resnet18": ("basic_block", [2, 2, 2, 2]),
    "resnet34": ("basic_block", [3, 4, 6, 3]),
    "resnet50": ("bottleneck_block", [3, 4, 6, 3]),
    "resnet101": ("bottleneck_block", [3, 4, 23, 3]),
}


@pytest.fixture
def hub_resnet(keras_hub):
    """Builds a ResNet of KerasHub with random values in every weight."""

    def build(name, **options):
        block_type, depths = DEPTHS[name]
        arguments = {
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 128, 256, 512],
            "stackwise_num_blocks": depths,
            "stackwise_num_strides": [1, 2, 2, 2],
            "block_type": block_type,
        }
        return randomize(keras_hub.models.ResNetBackbone(**{**arguments, **options}))

    return build


def images(height, width):
    return np.random.default_rng(1).standard_normal((2, height, width, 3)).astype("float32")


def assert_close(found, expected):
    """Compares features, to 1e-4 of their standard deviation if that exceeds 1, else to 1e-4."""
    tolerance = 1e-4 * max(1.0, float(np.std(expected)))
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", DEPTHS)
def test_a_resnet_of_keras_hub_has_the_same_features(hub_resnet, name):
    theirs = hub_resnet(name)
    ours = getattr(pdanet_tf.backbones, name)(output_stride=32, stem="7x7")
    sources.load_keras_hub_resnet(ours, theirs)
    levels = keras.Model(theirs.input, theirs.pyramid_outputs)
    for size in ((64, 96), (65, 97)):
        found, expected = ours(images(*size)), levels(images(*size))
        assert set(expected) == {"P2", "P3", "P4", "P5"}
        for level, features in expected.items():
            assert_close(found[f"C{level[1]}"], features)


@pytest.mark.parametrize(
    ("source", "options", "messages"),
    [
        ("resnet34", {}, ["unexpected: c2_block3_conv1/conv/kernel (3, 3, 64, 64)"]),
        (
            "resnet18",
            {"stackwise_num_blocks": [2, 2, 2, 1]},
            ["missing: c5_block2_conv1/conv/kernel (3, 3, 512, 512)"],
        ),
        (
            "resnet18",
            {"use_pre_activation": True},
            [
                "unexpected: stack0_block0_pre_activation_bn/gamma (64,)",
                "missing: c2_block1_conv2/batch_norm/gamma (64,)",
            ],
        ),
        (
            "resnet18",
            {"input_conv_kernel_sizes": [5]},
            ["  stem_conv1/conv/kernel: expected (7, 7, 3, 64), found (5, 5, 3, 64)"],
        ),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(hub_resnet, source, options, messages):
    ours = pdanet_tf.backbones.resnet18(stem="7x7")
    before = ours.get_weights()
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        sources.load_keras_hub_resnet(ours, hub_resnet(source, **options))
    for message in messages:
        assert message in str(caught.value)
    for old, new in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_vgg16_of_keras_has_the_same_features():
    theirs = randomize(keras.applications.VGG16(include_top=False, weights=None))
    ours = pdanet_tf.backbones.vgg16()
    sources.load_keras_vgg16(ours, theirs)
    found = ours(images(64, 96))
    pools = {f"C{block}": theirs.get_layer(f"block{block}_pool").output for block in range(1, 6)}
    for stage, features in keras.Model(theirs.input, pools)(images(64, 96)).items():
        assert_close(found[stage], features)


def test_a_vgg16_does_not_fit_a_resnet():
    theirs = keras.applications.VGG16(include_top=False, weights=None)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        sources.load_keras_vgg16(pdanet_tf.backbones.resnet18(), theirs)
    assert "unexpected: block1_conv1/bias (64,)" in str(caught.value)
    assert "missing: stem_conv1/conv/kernel (3, 3, 3, 64)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "preset"),
    [("resnet18", "resnet_18_imagenet"), ("resnet34", "hf://timm/resnet34.a1_in1k")],
)
def test_imagenet_weights_of_a_resnet(keras_hub, hub_resnet, monkeypatch, name, preset):
    theirs, asked = hub_resnet(name), []

    def from_preset(preset, **options):
        asked.append((preset, options))
        return theirs

    monkeypatch.setattr(keras_hub.models.ResNetBackbone, "from_preset", from_preset)
    ours = getattr(pdanet_tf.backbones, name)(output_stride=8, stem="7x7")
    sources.imagenet_weights(ours, name)
    assert asked == [(preset, {"dtype": "float32"})]
    np.testing.assert_array_equal(
        ours.get_layer("c5_block2_conv2").batch_norm.moving_variance,
        theirs.get_layer("stack3_block1_2_bn").moving_variance,
    )


def test_keras_hub_has_the_presets(keras_hub):
    presets = {entry.weights["7x7"].name for entry in pdanet_tf.backbones.RESNETS.values()}
    missing = presets.difference(keras_hub.models.ResNetBackbone.presets)
    assert missing == {"hf://timm/resnet34.a1_in1k"}  # a handle, not a preset


def test_imagenet_weights_of_vgg16(monkeypatch):
    theirs, asked = randomize(keras.applications.VGG16(include_top=False, weights=None)), []

    def build(**options):
        asked.append(options)
        return theirs

    monkeypatch.setattr(keras.applications, "VGG16", build)
    ours = pdanet_tf.backbones.vgg16(output_stride=8)
    sources.imagenet_weights(ours, "vgg16")
    assert asked == [{"include_top": False, "weights": "imagenet"}]
    found = {weight.path: weight for weight in ours.weights}
    assert len(found) == len(theirs.weights) == 26
    for weight in theirs.weights:
        np.testing.assert_array_equal(found[weight.path], weight)


@pytest.mark.parametrize(
    ("built_by", "options", "name", "message"),
    [
        ("resnet18", {"stem": "7x7"}, "resnet152", r"resnet101, vgg16\..*name='resnet152'"),
        ("resnet34", {}, "resnet34", r'resnet34 with the deep stem, only for .*: pass stem="7x7"'),
        ("resnet50", {}, "resnet18", r"backbones\.resnet18\..*'resnet50'"),
        ("resnet34", {"stem": "7x7"}, "resnet18", r"backbones\.resnet18\..*'resnet34'"),
        ("vgg16", {}, "resnet18", r"backbones\.resnet18\..*'vgg16'"),
        ("resnet18", {"stem": "7x7"}, "vgg16", r"backbones\.vgg16\..*'resnet18'"),
    ],
)
def test_backbones_without_imagenet_weights(built_by, options, name, message):
    backbone = getattr(pdanet_tf.backbones, built_by)(**options)
    with pytest.raises(ValueError, match=message):
        sources.imagenet_weights(backbone, name)


def test_without_keras_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="the extra 'keras-hub'"):
        sources.imagenet_weights(pdanet_tf.backbones.resnet18(stem="7x7"), "resnet18")


def check_model_on(backbone, levels):
    """Checks that a model has the features of a foreign backbone, and shares its variables."""
    model = pdanet_tf.build_model("pspnet_resnet18", num_classes=5, backbone=backbone)
    strides = {"C2": 4, "C3": 8, "C4": 16, "C5": 32}
    ours = pdanet_tf.backbones.as_backbone(backbone)
    assert pdanet_tf.backbones.stage_strides(ours) == strides
    found, expected = ours(images(65, 97)), levels(images(65, 97))
    for stage in strides:
        np.testing.assert_array_equal(found[stage], expected[f"P{stage[1]}"])
    pixels = np.random.default_rng(0).integers(0, 256, (1, 65, 97, 3)).astype("uint8")
    logits = model(pixels)
    assert logits.shape == (1, 65, 97, 5)
    shared = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in levels.weights} <= shared
    return model, pixels, logits


def test_a_backbone_of_keras_hub(hub_resnet, tmp_path):
    theirs = hub_resnet("resnet18")
    levels = keras.Model(theirs.input, theirs.pyramid_outputs)
    model, pixels, logits = check_model_on(theirs, levels)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(pixels), logits, atol=1e-5)


def keras_cv_resnet(keras_cv, **options):
    # `ResNet18V2Backbone()` builds the same, but downloads its settings.
    return keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        **options,
    )


def test_a_backbone_of_keras_cv(keras_cv):
    theirs = randomize(keras_cv_resnet(keras_cv, include_rescaling=False))
    outputs = {
        level: theirs.get_layer(layer).output
        for level, layer in theirs.pyramid_level_inputs.items()
    }
    check_model_on(theirs, keras.Model(theirs.input, outputs))


def test_a_backbone_of_keras_cv_that_rescales(keras_cv):
    with pytest.raises(ValueError, match=r"rescales them again in rescaling.*include_rescaling=F"):
        pdanet_tf.backbones.as_backbone(keras_cv_resnet(keras_cv, include_rescaling=True))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3),
        pdanet_tf.layers.PixelNormalization(),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_backbone_that_rescales_pixels(layer, nested):
    images = keras.Input((None, None, 3))
    x = layer(images)
    if nested:
        x = keras.Model(images, x)(images)
    features = keras.layers.Conv2D(4, 3, strides=32)(x)
    with pytest.raises(ValueError, match=r"'own', which rescales them again in .*Build it without"):
        pdanet_tf.backbones.as_backbone(keras.Model(images, {"C5": features}, name="own"))


def test_a_backbone_that_rescales_features():
    images = keras.Input((None, None, 3))
    features = keras.layers.Rescaling(0.1)(keras.layers.Conv2D(4, 3, strides=32)(images))
    own = keras.Model(images, {"C5": features})
    assert pdanet_tf.backbones.as_backbone(own) is own
