"""A user's own head, registered by a module outside the package."""

import importlib

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.base.catalog import model_names
from pdanet_tf.models import registry
from pdanet_tf.models.fcn import fcn, fcn_head


@pytest.fixture
def own(restored_registry):
    """A module that registers "myhead" on the ResNets and on a backbone of its own."""
    import tests.support.own_family as module

    return importlib.reload(module)  # it may have been imported before


def image(height=33, width=47):
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype("uint8")


@pytest.mark.usefixtures("own")
def test_it_is_built_saved_and_loaded_as_the_models_of_the_package(tmp_path):
    options = {"num_classes": 3, "filters": 5, "dropout": 0.2}
    model = pdanet_tf.build_model("myhead_tiny", aux_head=True, upsample=False, **options)
    assert model.name == "myhead_tiny"
    outputs = model(image())
    assert {name: value.shape for name, value in outputs.items()} == {
        "logits": (1, 3, 3, 3),
        "aux_logits": (1, 3, 3, 3),
    }
    assert model.get_layer("head_conv").filters == 5
    assert model.get_layer("dropout").rate == 0.2
    model.save(tmp_path / "model.keras")
    loaded = pdanet_tf.build_model("myhead_tiny", weights=tmp_path / "model.keras", **options)
    assert loaded(image()).shape == (1, 33, 47, 3)
    np.testing.assert_array_equal(
        loaded.get_layer("head_conv").kernel, model.get_layer("head_conv").kernel
    )
    prediction = pdanet_tf.predict(image()[0], keras.saving.load_model(tmp_path / "model.keras"))
    assert prediction.label_map.shape == (33, 47)


@pytest.mark.usefixtures("own")
def test_its_options_are_those_of_the_head_the_family_and_the_backbone():
    assert pdanet_tf.build_model("myhead_tiny", 3).get_layer("head_conv").filters == 8
    deep = pdanet_tf.build_model("myhead_tiny", 3, output_stride=8, upsample=False)
    assert deep(image()).shape == (1, 5, 6, 3)
    with pytest.raises(TypeError, match=r"Did you mean filters\? Options of .*: dropout, filters$"):
        pdanet_tf.build_model("myhead_resnet18", filter=None)
    with pytest.raises(ValueError, match=r"myhead_tiny has no choice of stem.*, myhead_resnet18, "):
        pdanet_tf.build_model("myhead_tiny", stem="deep")
    with pytest.raises(ValueError, match="myhead_tiny has no choice of backbone_weights"):
        pdanet_tf.build_model("myhead_tiny", backbone_weights="imagenet")
    with pytest.raises(ValueError, match=r"fcn8s_vgg16 always .*, deeplabv3, .*, myhead$"):
        pdanet_tf.build_model("fcn8s_vgg16", output_stride=16)


@pytest.mark.usefixtures("own")
def test_it_is_listed(capsys):
    names = {"myhead_tiny", *(f"myhead_{name}" for name in pdanet_tf.backbones.RESNETS)}
    assert names < {*pdanet_tf.list_models()}
    assert model_names()[0] == "pdanet_resnet18"
    assert {*model_names()[-5:]} == names
    with pytest.raises(ValueError, match="Did you mean: myhead_resnet18"):
        pdanet_tf.build_model("myhead_resnet_18")
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    index = lines.index("My head: one convolution")
    listed = lines[index + 1 : index + 1 + len(names)]
    assert sorted(line.strip() for line in listed) == sorted(names)


def test_a_family_of_the_package_on_a_backbone_of_ones_own(own):
    pdanet_tf.register_family({"tiny": own.tiny_backbone}, fcn_head)(fcn)
    assert pdanet_tf.build_model("fcn_tiny", 3)(image()).shape == (1, 33, 47, 3)


def test_the_same_family_again_replaces_the_first(own):
    importlib.reload(own)  # as a notebook does when a cell is run again
    assert registry.find_model("myhead_tiny").family.__module__ == own.__name__


def test_a_name_of_another_function(own):
    def myhead(backbone, **options):
        return own.myhead(backbone, **options)

    before = pdanet_tf.list_models()
    for backbones in ({"tiny": own.tiny_backbone}, {"new": own.tiny_backbone}):
        with pytest.raises(ValueError, match=r"'myhead': tests\.support\.own_family\.myhead"):
            pdanet_tf.register_family(backbones, own.myhead_head)(myhead)

    def danet(backbone, **options):
        return own.myhead(backbone, **options)

    with pytest.raises(ValueError, match=r"'danet': pdanet_tf\.models\.danet\.danet\. Choose "):
        pdanet_tf.register_family({"tiny": own.tiny_backbone}, own.myhead_head)(danet)
    assert pdanet_tf.list_models() == before


def test_what_cannot_be_registered(own):
    def short_head(stages, num_classes):
        return stages["C5"]

    with pytest.raises(ValueError, match=r"short_head\(stages, num_classes\).* not take dropout"):
        pdanet_tf.register_family({"tiny": own.tiny_backbone}, short_head)
    for backbones in (own.tiny_backbone, ["resnet18"], {"tiny": "resnet18"}):
        with pytest.raises(ValueError, match="backbones must be a mapping from names"):
            pdanet_tf.register_family(backbones, own.myhead_head)

    def needs_width(stages, num_classes, dropout, *, width):
        return stages["C5"]

    def lone(backbone):
        return backbone

    tiny = {"tiny": own.tiny_backbone}
    for backbones in ({}, {3: own.tiny_backbone}):
        with pytest.raises(ValueError, match="backbones must be a mapping from names"):
            pdanet_tf.register_family(backbones, own.myhead_head)
    with pytest.raises(ValueError, match=r"output_stride must be one of .* output_stride=7"):
        pdanet_tf.register_family(tiny, own.myhead_head, output_stride=7)
    with pytest.raises(ValueError, match="A head must be a function"):
        pdanet_tf.register_family(tiny, 3)
    for family in (3, lambda backbone, **options: backbone, lone):
        with pytest.raises(ValueError, match="A family must be a function"):
            pdanet_tf.register_family(tiny, own.myhead_head)(family)
    with pytest.raises(ValueError, match="takes the option 'widht'"):
        pdanet_tf.register_family(tiny, needs_width, widht=3)(own.myhead)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda stages, num_classes, dropout: stages["C5"], r"num_classes=3\. Received: \(None"),
        (
            lambda stages, num_classes, dropout: keras.ops.mean(stages["C5"], (1, 2)),
            r"must return logits .* Received: \(None, 4\)",
        ),
        (lambda stages, num_classes, dropout: None, r"must return logits .* Received: NoneType"),
        (lambda stages, num_classes, dropout: stages["C9"], "the stage 'C9'.* stages C4, C5"),
    ],
)
def test_a_head_that_returns_anything_but_logits(head, message):
    image = keras.Input((None, None, 3))
    c4 = keras.layers.Conv2D(4, 8, strides=8, name="C4")(image)
    backbone = keras.Model(image, {"C4": c4, "C5": c4 * 1.0}, name="two")
    with pytest.raises(ValueError, match=message):
        pdanet_tf.segmentation_model("bad", backbone, head, num_classes=3)


def test_a_head_with_another_argument_and_what_is_no_backbone():
    def demanding(stages, num_classes, dropout, *, width):
        return stages["C5"]

    with pytest.raises(ValueError, match=r"The head of bad, demanding, .* 'width'"):
        pdanet_tf.segmentation_model("bad", pdanet_tf.backbones.resnet18(), demanding)
    with pytest.raises(ValueError, match=r"backbone must be a Keras model\. .*backbone=3"):
        pdanet_tf.segmentation_model("bad", 3, demanding)
