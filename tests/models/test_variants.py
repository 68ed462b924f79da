"""Networks of other packages: their list, and their numbers of parameters."""

import math

import pytest

from pdanet_tf.base.catalog import FAMILIES
from pdanet_tf.models.registry import find_model, variants_of
from pdanet_tf.training import TrainConfig
from pdanet_tf.training.model import backbone_options
from tests.support.models import blank

# Published by torchvision, for 21 classes with the auxiliary head.
PARAMETERS = {
    "fcn_resnet50": 35_322_218,
    "deeplabv3_resnet50": 42_004_074,
    "fcn_resnet101": 54_314_346,
    "deeplabv3_resnet101": 60_996_202,
}


def test_the_catalog_lists_every_variant():
    for name, family in FAMILIES.items():
        for backbone in family.parameters:
            model = f"{name}_{backbone}"
            listed = {each for each, having in family.variants.items() if backbone in having}
            assert set(variants_of(model)) == listed, model
        for having in family.variants.values():
            assert set(having) <= set(family.parameters), name


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if "101" in name else name for name in PARAMETERS],
)
def test_torchvision_has_as_many_parameters(name):
    model = blank(name, num_classes=21, variant="torchvision", aux_head=True)
    count = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert count == PARAMETERS[name]
    assert model.name == f"{name}_torchvision"


def test_a_variant_fixes_what_its_package_fixes():
    entry = find_model("fcn_resnet50", "torchvision")
    assert "stem" not in entry.backbone.options
    assert entry.backbone.fixed == {"stem": "7x7"}
    # The weights of the other stem do not fit.
    assert [source.reader for source in entry.backbone.weights.values()] == ["keras_hub"]
    assert list(entry.backbone.weights) == [None]


def test_training_checks_the_variant_before_it_builds():
    config = TrainConfig(model="fcn_resnet50", variant="torchvision", stem="deep")
    with pytest.raises(ValueError, match="fcn_resnet50 has no choice of stem"):
        backbone_options(config)
    config = TrainConfig(model="fcn_resnet50", variant="caffe")
    with pytest.raises(ValueError, match=r"fcn_resnet50 has the variants .*variant='caffe'"):
        backbone_options(config)
    assert backbone_options(TrainConfig(model="fcn_resnet50", variant="torchvision")) == {}
