"""Checkpoints of segmentation_models.pytorch: our variants compute the same logits."""

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.weights.files import load_keras_file
from pdanet_tf.weights.sources.checkpoint import load_checkpoint, recognise, require_architecture
from tests.support import smp_networks
from tests.support.foreign import import_torchvision, run
from tests.support.foreign_logits import differences, stored_case

TOLERANCE = 1e-4
QUICK = ("pspnet_resnet18", "deeplabv3_resnet18_os16", "deeplabv3plus_resnet18")
SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in smp_networks.CASES if name not in QUICK
]


def build(state, name):
    """Builds the model of a state dict, as `build_model` does from a file."""
    checkpoint = recognise(state, "smp.pth")
    known = require_architecture(checkpoint).complete("smp.pth", **smp_networks.CASES[name][3])
    model = pdanet_tf.build_model(known.pop("model"), include_preprocessing=False, **known)
    load_checkpoint(model, checkpoint, strict=True)
    return model


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_stored_logits(name):
    state, values = stored_case("smp", name)
    found = differences(build(state, name), values)
    print(name, found)
    assert len(found) == 2
    assert max(found.values()) < TOLERANCE


@pytest.mark.extra
@pytest.mark.parametrize("name", smp_networks.CASES)
def test_logits_of_the_package(name):
    package = import_torchvision("segmentation_models_pytorch")
    made = smp_networks.network(package, name)
    model = build({key: value.numpy() for key, value in made.state_dict().items()}, name)
    for size in ((32, 64), (80, 48)):
        expected = run(made, smp_networks.images(*size))
        computed = np.asarray(model(smp_networks.images(*size)))
        assert np.abs(computed - expected).max() < TOLERANCE


class TestArchitecture:
    def test_options_that_the_shapes_show(self):
        state, _ = stored_case("smp", "pspnet_resnet34_depth4")
        found = require_architecture(recognise(state, "smp.pth"))
        assert (found.model, found.variant, found.num_classes) == ("pspnet_resnet34", "smp", 3)
        assert found.options == {"encoder_depth": 4, "filters": 512}
        state, _ = stored_case("smp", "deeplabv3_resnet34_separable")
        found = require_architecture(recognise(state, "smp.pth"))
        assert found.options == {"filters": 256, "separable": True}

    def test_names_of_the_first_versions(self):
        state, _ = stored_case("smp", "deeplabv3_resnet18")
        old = {
            "decoder.aspp.": "decoder.0.",
            "decoder.conv.": "decoder.1.",
            "decoder.bn.": "decoder.2.",
        }

        def rename(name):
            for new, before in old.items():
                name = name.replace(new, before)
            return name

        checkpoint = recognise({rename(name): array for name, array in state.items()}, "old.pth")
        assert checkpoint.state.keys() == state.keys()
        assert require_architecture(checkpoint).model == "deeplabv3_resnet18"

    @pytest.mark.parametrize(
        ("case", "change", "reason"),
        [
            (
                "pspnet_resnet18",
                lambda name: name.replace("psp.blocks", "blocks"),
                "of its decoders only PSPNet, DeepLabV3 and DeepLabV3Plus",
            ),
            (
                "pspnet_resnet18",
                lambda name: name.replace("decoder.conv.1.", "decoder.other."),
                "batch norm",
            ),
            (
                "deeplabv3_resnet18",
                lambda name: name.replace("encoder.layer4", "encoder.layer5"),
                r"encoder\.layer4\.0\.conv2\.weight must be the kernel of a convolution",
            ),
        ],
    )
    def test_what_cannot_be_equal(self, case, change, reason):
        state, _ = stored_case("smp", case)
        changed = {change(name): array for name, array in state.items()}
        with pytest.raises(ValueError, match=reason):
            require_architecture(recognise(changed, "smp.pth"))


def test_convert(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="writes a .pth file")
    state, _ = stored_case("smp", "pspnet_resnet18")
    file = tmp_path / "smp.pth"
    torch.save({f"model.{name}": torch.tensor(array) for name, array in state.items()}, file)
    assert cli.main(["convert", str(file), "--output", str(tmp_path / "smp.keras")]) == 0
    printed = capsys.readouterr().out
    assert "model pspnet_resnet18, 3 classes, variant smp" in printed
    assert "Assumed" not in printed  # PSPNet is not dilated
    assert "encoder.layer3.0.conv1.weight" in printed.partition("Not used")[2]
    stages = load_keras_file(tmp_path / "smp.keras").get_layer("resnet18").output
    assert sorted(stages) == ["C1", "C2", "C3"]


def test_no_auxiliary_head():
    with pytest.raises(ValueError, match="C1, C2, C3; the model also needs C4"):
        pdanet_tf.build_model("pspnet_resnet18", 3, variant="smp", aux_head=True)


def test_unknown_depth():
    with pytest.raises(ValueError, match=r"one of \(3, 4, 5\). Received: encoder_depth=2"):
        pdanet_tf.build_model("pspnet_resnet18", 3, variant="smp", encoder_depth=2)
