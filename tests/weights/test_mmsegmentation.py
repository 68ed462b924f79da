"""Checkpoints of mmsegmentation: our variants compute the stored logits of the package."""

import sys
from types import ModuleType

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.backbones.stages import stage_strides
from pdanet_tf.weights.files import load_keras_file
from pdanet_tf.weights.sources.checkpoint import (
    load_checkpoint,
    read_checkpoint,
    recognise,
    require_architecture,
    unused_names,
)
from pdanet_tf.weights.sources.mmsegmentation_config import apply_config
from pdanet_tf.weights.sources.source import Architecture
from pdanet_tf.weights.torch import read_torch_file
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
            ("fcn_resnet18_v1c", "backbone.layer3.1", "backbone.layer5.1", "a ResNet of"),
        ],
    )
    def test_what_cannot_be_equal(self, name, old, new, reason):
        state, _ = stored_case("mmsegmentation", name)
        changed = {key.replace(old, new): array for key, array in state.items()}
        with pytest.raises(ValueError, match=reason):
            require_architecture(recognise(changed, "x.pth"))


CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, dilations=(1, 1, 1, 2), strides=(1, 2, 2, 1),
                  norm_cfg=dict(type='SyncBN', requires_grad=True), contract_dilation=True),
    decode_head=dict(type='ASPPHead', in_index=3, dilations=(1, 6, 12, 18), align_corners=False),
    test_cfg=dict(mode='whole'))
optimizer = __import__('os').system('exit 1')
"""


class TestConfig:
    def complete(self, model, text):
        return apply_config(Architecture(model, 3, "mmsegmentation", "v1c"), text)

    def test_completes_what_the_weights_show(self):
        found = self.complete("deeplabv3_resnet18", CONFIG)
        assert found.output_stride == 16
        assert found.options == {"dilation_rates": (6, 12, 18)}

    def test_dilation_of_fcn(self):
        found = self.complete("fcn_resnet18", CONFIG.replace("in_index=3,", "dilation=6,"))
        assert found.options == {"dilation_rate": 6}

    @pytest.mark.parametrize("text", ["", "x = 1", "model = build()", "model = (", "\0"])
    def test_other_texts_say_nothing(self, text):
        assert self.complete("fcn_resnet18", text).output_stride is None

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            (
                "align_corners=False",
                "align_corners=True",
                "must have align_corners=False, not True",
            ),
            ("contract_dilation=True", "contract_dilation=False", "contract_dilation=True, not F"),
            ("contract", "multi_grid=(1, 2, 4), contract", r"multi_grid=None, not \(1, 2, 4\)"),
            ("depth=18", "style='caffe'", "style='pytorch', not 'caffe'"),
            ("(1, 1, 1, 2)", "(1, 1, 2, 2)", r"not strides=\(1, 2, 2, 1\), dilations=\(1, 1, 2, 2"),
            ("in_index=3", "in_index=2", "in_index=3, not 2"),
            ("(1, 6, 12, 18)", "(6, 12, 18, 24)", r"must be 1 and larger ones, not \(6, 12, 18"),
            ("in_index=3", "act_cfg=dict(type='LeakyReLU')", "must have ReLUs"),
        ],
    )
    def test_what_no_network_here_has(self, old, new, reason):
        with pytest.raises(ValueError, match=reason):
            self.complete("deeplabv3_resnet18", CONFIG.replace(old, new))


class TestFiles:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch", reason="reading .pth files needs the extra 'torch'")

    @pytest.mark.parametrize("key", ["config", "cfg"])  # of mmsegmentation 0.x and 1.x
    def test_meta_with_numbers_of_numpy(self, torch, tmp_path, key):
        state, _ = stored_case("mmsegmentation", "deeplabv3_resnet18_7x7")
        content = {
            "state_dict": {name: torch.tensor(array) for name, array in state.items()},
            "meta": {
                key: CONFIG,
                "CLASSES": ("sky", np.str_("road")),
                "PALETTE": np.zeros((3, 3), "uint8"),
                "mIoU": np.float64(0.5),
                "iter": np.int64(80000),
            },
        }
        torch.save(content, tmp_path / "iter.pth")
        found = require_architecture(read_checkpoint(tmp_path / "iter.pth"))
        assert (found.model, found.stem, found.output_stride) == ("deeplabv3_resnet18", "7x7", 16)

    def test_convert_takes_the_stride_of_the_configuration(self, torch, tmp_path, capsys):
        state, _ = stored_case("mmsegmentation", "fcn_resnet18_v1c")
        tensors = {name: torch.tensor(array) for name, array in state.items()}
        torch.save({"state_dict": tensors, "meta": {"cfg": CONFIG}}, tmp_path / "d16.pth")
        file = tmp_path / "d16.keras"
        assert cli.main(["convert", str(tmp_path / "d16.pth"), "--output", str(file)]) == 0
        printed = capsys.readouterr().out
        assert "model fcn_resnet18, 3 classes, variant mmsegmentation, stem v1c" in printed
        assert "Assumed" not in printed
        model = load_keras_file(file)
        assert stage_strides(model.get_layer("resnet18"))["C5"] == 16
        kernel = model.get_layer("classifier").kernel
        expected = state["decode_head.conv_seg.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, expected)

    def test_a_configuration_without_an_equal_network(self, torch, tmp_path):
        state, _ = stored_case("mmsegmentation", "deeplabv3_resnet18_7x7")
        text = CONFIG.replace("contract", "multi_grid=(1, 2, 4), contract")
        tensors = {name: torch.tensor(array) for name, array in state.items()}
        torch.save({"state_dict": tensors, "meta": {"cfg": text}}, tmp_path / "mg124.pth")
        with pytest.raises(ValueError, match=r"mg124\.pth.*multi_grid=None"):
            require_architecture(read_checkpoint(tmp_path / "mg124.pth"))

    def test_history_of_mmengine(self, torch, tmp_path, monkeypatch):
        module = ModuleType("mmengine.logging.history_buffer")

        class HistoryBuffer:
            def __init__(self):
                self.values, self.mean = np.ones(3), getattr

        HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
        module.HistoryBuffer = HistoryBuffer
        for name in ("mmengine", "mmengine.logging"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        content = {
            "state_dict": {"weight": torch.ones(2)},
            "message_hub": {"log_scalars": {"loss": HistoryBuffer()}},
        }
        torch.save(content, tmp_path / "iter.pth")
        monkeypatch.undo()
        assert read_torch_file(tmp_path / "iter.pth")["weight"].tolist() == [1, 1]
