"""The entries of the backbones: what they build, and the facts that they state."""

import pytest

from pdanet_tf.backbones.registry import PRETRAINED, RESNETS, VGG16, WeightsSource
from pdanet_tf.backbones.vgg import vgg16


def test_calling_an_entry_builds_the_backbone():
    model = RESNETS["resnet18"](stem="7x7", output_stride=16, name="own")
    assert model.name == "own"
    assert model.compute_output_shape((1, 64, 64, 3))["C5"] == (1, 4, 4, 512)
    assert model.compute_output_shape((1, 64, 64, 3))["C1"] == (1, 32, 32, 64)


def test_other_defaults_change_nothing_else():
    dense = VGG16.with_defaults(output_stride=8)
    assert dense.options == VGG16.options == ["output_stride", "late_pools"]
    assert (dense.weights, dense.normalization) == (VGG16.weights, "caffe")
    assert VGG16.build is vgg16
    shapes = [model.compute_output_shape((1, 64, 64, 3))["C5"] for model in (dense(), VGG16())]
    assert shapes == [(1, 8, 8, 512), (1, 2, 2, 512)]


def test_the_first_stem_with_imagenet_weights_is_the_default():
    stems = {name: list(entry.weights) for name, entry in PRETRAINED.items()}
    assert stems == {
        "resnet18": ["7x7", "deep"],
        "resnet34": ["7x7"],
        "resnet50": ["7x7", "deep"],
        "resnet101": ["7x7", "deep"],
        "vgg16": [None],
    }
    for name, entry in RESNETS.items():
        assert {"layout", "output_stride", "stem", "width"} == {*entry.options}
        for source in entry.weights.values():
            assert source.reader != "torch" or source.name.endswith(f"/{name}-imagenet.pth")


def test_a_source_of_weights_that_nothing_reads():
    with pytest.raises(ValueError, match=r"reader must be one of .*reader='timm'"):
        WeightsSource("timm", "resnet18")
