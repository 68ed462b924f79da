"""Checkpoints of mmsegmentation: our variants compute the stored logits of the package."""

import pytest

import pdanet_tf
from pdanet_tf.weights.sources.checkpoint import (
    load_checkpoint,
    recognise,
    require_architecture,
    unused_names,
)
from tests.support.foreign_logits import GOLDEN, differences, stored_case

TOLERANCE = 1e-4
NAMES = sorted(path.stem for path in (GOLDEN / "mmsegmentation").glob("*.npz"))
QUICK = ("fcn_resnet18_v1c", "deeplabv3plus_resnet18_v1c")
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
D16 = {"output_stride": 16}  # which no state dict shows


def read(name):
    state, values = stored_case("mmsegmentation", name)
    return recognise(state, f"{name}.pth"), values


@pytest.mark.parametrize("name", CASES)
def test_stored_logits(name):
    checkpoint, values = read(name)
    architecture = require_architecture(checkpoint)
    given = D16 if name.endswith("d16") else {}
    known = architecture.complete(checkpoint.file, **given)
    assert known["model"] == "_".join(name.split("_")[:2])
    assert known["stem"] == name.split("_")[2]
    assert architecture.aux_head
    model = pdanet_tf.build_model(
        known.pop("model"), include_preprocessing=False, aux_head=True, **known
    )
    load_checkpoint(model, checkpoint, strict=True)
    found = differences(model, values)
    print(name, found)
    assert len(found) == 4
    assert max(found.values()) < TOLERANCE


def test_a_model_without_the_auxiliary_head():
    checkpoint, values = read("pspnet_resnet18_v1d")
    model = pdanet_tf.build_model(
        "pspnet_resnet18", 3, variant="mmsegmentation", stem="v1d", include_preprocessing=False
    )
    load_checkpoint(model, checkpoint, strict=True)
    assert max(differences(model, values).values()) < TOLERANCE
    unused = {name.split(".")[0] for name in unused_names(model, checkpoint)}
    assert unused == {"auxiliary_head"}


class TestArchitecture:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("danet_resnet18_v1c", {"reduction": 2}),
            ("danet_resnet50_v1c", {"reduction": 8}),
            ("pspnet_resnet50_v1c", {}),
            ("deeplabv3plus_resnet18_v1c", {}),
        ],
    )
    def test_options_that_the_shapes_show(self, name, options):
        found = require_architecture(read(name)[0])
        assert (found.variant, found.num_classes, found.normalization) == (
            "mmsegmentation",
            3,
            "torch",
        )
        assert found.options == options

    @pytest.mark.parametrize(
        ("name", "old", "new", "reason"),
        [
            ("fcn_resnet18_v1c", "decode_head.conv_cat", "decode_head.other", "parts convs, other"),
            ("fcn_resnet18_v1c", "decode_head.convs.1", "decode_head.convs.0.more", "num_convs=1"),
            (
                "pspnet_resnet18_v1d",
                "decode_head.psp_modules.3",
                "decode_head.psp_modules.2",
                "4 pool_scales",
            ),
            ("fcn_resnet18_v1c", "backbone.stem.6", "backbone.stem.9", "stem must be that of"),
            ("fcn_resnet18_v1c", "backbone.layer3.1", "backbone.layer3.2", "a ResNet of"),
        ],
    )
    def test_what_cannot_be_equal(self, name, old, new, reason):
        state, _ = stored_case("mmsegmentation", name)
        changed = {key.replace(old, new): array for key, array in state.items()}
        with pytest.raises(ValueError, match=reason):
            require_architecture(recognise(changed, "x.pth"))
