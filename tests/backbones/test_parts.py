"""The stages of backbones, and freezing them."""

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.backbones.parts import find_backbone, freeze, stage_layers
from pdanet_tf.backbones.segnet import segnet_vgg16_encoder
from pdanet_tf.losses import SegmentationCrossEntropy
from tests.support import tiny_family
from tests.support.models import blank, pictures


def first_and_last(backbone):
    return {
        stage: (layers[0].name, layers[-1].name) for stage, layers in stage_layers(backbone).items()
    }


def test_every_layer_of_a_backbone_is_in_the_stage_that_needs_it_first():
    resnet = pdanet_tf.backbones.resnet18(stem="7x7")
    assert first_and_last(resnet) == {
        "C1": ("normalized_image", "stem_conv1"),
        "C2": ("stem_pad", "c2_block2_out"),
        "C3": ("c3_block1_conv1", "c3_block2_out"),
        "C4": ("c4_block1_conv1", "c4_block2_out"),
        "C5": ("c5_block1_conv1", "c5_block2_out"),
    }
    segnet = segnet_vgg16_encoder()
    for backbone in (segnet, pdanet_tf.backbones.vgg16()):
        found = first_and_last(backbone)
        assert found.pop("C1") == ("normalized_image", "block1_pool")
        assert found == {
            f"C{level}": (f"block{level}_conv1", f"block{level}_pool") for level in range(2, 6)
        }
    for backbone in (resnet, segnet):
        layers = [layer for layers in stage_layers(backbone).values() for layer in layers]
        assert sorted(layer.name for layer in layers) == sorted(
            layer.name for layer in backbone.layers
        )


def test_the_backbone_is_found_also_in_a_loaded_model(tmp_path):
    model = blank("segnet_basic")
    model.save(tmp_path / "model.keras")
    assert find_backbone(model) is model.get_layer("basic")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert find_backbone(loaded) is loaded.get_layer("basic")
    assert find_backbone(find_backbone(model)) is None


def trainable(model):
    return {weight.path.partition("_")[0] for weight in model.trainable_weights}


def test_freezing_parts(restored_registry, tmp_path):
    tiny_family.register()
    model = pdanet_tf.build_model("tiny_small", num_classes=2)
    freeze(model, "stem")
    assert trainable(model) == {"block2", "block3", "head", "classifier/kernel", "classifier/bias"}
    freeze(model, ("C2",))
    assert trainable(model) == {"block3", "head", "classifier/kernel", "classifier/bias"}
    freeze(model, "backbone")
    assert trainable(model) == {"head", "classifier/kernel", "classifier/bias"}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    freeze(loaded, "backbone")
    assert trainable(loaded) == trainable(model)


def test_batch_norm_of_frozen_stages_stays_in_inference_mode(restored_registry):
    tiny_family.register()
    model = pdanet_tf.build_model("tiny_small", num_classes=2, upsample=False)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    freeze(model, ("C1", "C2"))
    before = {weight.path: weight.numpy() for weight in model.weights}
    images, labels = pictures(4, 16, 24), rng.integers(0, 2, (4, 2, 3))
    inner = keras.Model(model.input, find_backbone(model)(model.layers[1].output)["C2"])
    features = inner(images, training=True)
    np.testing.assert_allclose(features, inner(images, training=False), rtol=1e-6)
    model.compile("sgd", SegmentationCrossEntropy(), jit_compile=False)
    model.fit(images, labels, batch_size=2, verbose=0)
    for weight in model.weights:
        is_frozen = weight.path.startswith(("block1", "block2"))
        assert np.array_equal(weight, before[weight.path]) == is_frozen, weight.path


def test_parts_that_do_not_exist():
    model = blank("segnet_basic")
    with pytest.raises(
        ValueError, match=r"no part 'C5'\. Its parts are backbone, stem, C1, C2, C3, C4"
    ):
        freeze(model, ("C1", "C5"))
    with pytest.raises(ValueError, match=r"no part 'bckbone' \(did you mean 'backbone'\?\)"):
        freeze(model, "bckbone")
    assert len(model.trainable_weights) == 26
    with pytest.raises(ValueError, match="'basic' has no backbone"):
        freeze(find_backbone(model), "C1")
