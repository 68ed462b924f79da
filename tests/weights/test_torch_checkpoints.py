"""Checkpoints of PyTorch: what wraps them, what is missing or refused, and `convert`."""

import pathlib
import pickle
import re
import sys

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from tests.support import golden_models as golden
from tests.support.models import blank, pictures


def test_state_dicts_that_do_not_fit_are_listed_at_once_and_load_nothing():
    model = pdanet_tf.build_model("fcn_resnet18", num_classes=150)
    before = model.get_weights()
    layout = golden.layout("fcn")
    encoder = {name: np.zeros(shape) for name, shape in layout["encoder"].items()}
    decoder = {name: np.zeros(shape) for name, shape in layout["decoder"].items()}
    del encoder["layer1.0.conv1.weight"]
    decoder["conv_last.weight"] = np.zeros((21, 128, 1, 1))
    decoder["surprise.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        pdanet_tf.convert.load_torch_state_dict(model, encoder, decoder)
    message = str(caught.value)
    assert "missing: c2_block1_conv1/conv/kernel (3, 3, 128, 64)" in message
    assert "unexpected: decoder.surprise.weight (3,)" in message
    assert "classifier/kernel: expected (1, 1, 128, 150), found (1, 1, 128, 21)" in message
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_unused_names_of_a_checkpoint_are_reported():
    model = pdanet_tf.build_model("danet_resnet18", num_classes=150)
    layout = golden.layout("danet")
    encoder = {name: np.ones(shape) for name, shape in layout["encoder"].items()}
    decoder = {name: np.ones(shape) for name, shape in layout["decoder"].items()}
    encoder["bn1.num_batches_tracked"] = np.array(7)
    unused = pdanet_tf.convert.load_torch_state_dict(model, encoder, decoder)
    assert sorted(unused) == [
        *(f"decoder.dam.0.conv{n}.1.{part}" for n in (6, 7) for part in ("bias", "weight")),
        "encoder.bn1.num_batches_tracked",
    ]


def genuine_state(name):
    """A checkpoint as the reference writes it, with the extra buffers of each batch norm."""
    parts = {part: golden.draw(shapes) for part, shapes in golden.layout(name).items()}
    for state in parts.values():
        for key in [key for key in state if key.endswith(".running_mean")]:
            norm = key.removesuffix(".running_mean")
            state[f"{norm}.num_batches_tracked"] = np.array(7)
            state[f"{norm}._tmp_running_mean"] = 1000 * state[key]
            state[f"{norm}._tmp_running_var"] = 1000 * state[f"{norm}.running_var"]
            state[f"{norm}._running_iter"] = np.array([1000.0], "float32")
    return parts


def test_a_checkpoint_is_read_whatever_wraps_it():
    parts = genuine_state("fcn_deepsup")
    expected = {w.path: w.numpy() for w in golden.reference_model("fcn_deepsup").weights}
    whole = {
        f"{part}.{key}": array for part, state in parts.items() for key, array in state.items()
    }
    wrapped = [
        (parts["encoder"], parts["decoder"]),
        *(
            tuple({f"{prefix}{key}": array for key, array in state.items()} for state in states)
            for prefix, states in (
                ("module.", parts.values()),
                ("_orig_mod.module.", parts.values()),
                ("", [whole]),
                ("module.", [whole]),
            )
        ),
        ({**whole, "crit.weight": np.ones(150)}, None),
    ]
    for states in wrapped:
        model = blank("fcn_resnet18", num_classes=150, aux_head=True)
        unused = pdanet_tf.convert.load_torch_state_dict(model, *states)
        assert len(unused) == 4 * (3 + 16 + 4 + 2) + ("crit.weight" in states[0])
        assert len(model.weights) == len(expected)
        for found in model.weights:
            np.testing.assert_array_equal(found, expected[found.path])
    without = blank("fcn_resnet18", num_classes=150)
    unused = pdanet_tf.convert.load_torch_state_dict(without, *wrapped[0])
    assert [name for name in unused if name.endswith("deepsup.bias")] == [
        "decoder.conv_last_deepsup.bias"
    ]
    for found in without.weights:
        np.testing.assert_array_equal(found, expected[found.path])
    both = {**wrapped[1][0], **wrapped[0][0]}
    with pytest.raises(ValueError, match=r"with and without 'module\.'"):
        pdanet_tf.convert.load_torch_state_dict(without, both, wrapped[0][1])


def test_the_stem_of_a_checkpoint_is_told():
    parts = genuine_state("fcn")
    assert pdanet_tf.convert.torch_stem(parts["encoder"]) == "deep"
    assert pdanet_tf.convert.torch_stem({"module.conv1.weight": np.ones((64, 3, 7, 7))}) == "7x7"
    for neither in (parts["decoder"], {"conv1.weight": np.ones((64, 3, 5, 5))}):
        assert pdanet_tf.convert.torch_stem(neither) is None
    model = blank("fcn_resnet18", num_classes=150, stem="7x7")
    with pytest.raises(ValueError, match=r"in a\.pth .*stem='deep'.* has stem='7x7'") as caught:
        pdanet_tf.convert.load_torch_state_dict(model, *parts.values(), source="a.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("bn1.running_mean", np.nan, "stem_conv1/batch_norm/moving_mean"),
        ("layer1.0.conv1.weight", -np.inf, "c2_block1_conv1/conv/kernel"),
        ("bn2.running_var", -1e-3, "stem_conv2/batch_norm/moving_variance"),
    ],
)
def test_weights_that_make_every_logit_nan(name, value, path):
    parts = genuine_state("fcn")
    parts["encoder"][name].flat[-1] = value
    model = blank("fcn_resnet18", num_classes=150)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"a\.pth: .*finite.*{path}"):
        pdanet_tf.convert.load_torch_state_dict(model, *parts.values(), source="a.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class TestPyTorchFiles:
    """Checkpoints as PyTorch writes them; requires PyTorch."""

    @pytest.fixture
    def write(self, torch, tmp_path):
        def write(content, name="file.pth", **options):
            torch.save(content, tmp_path / name, **options)
            return str(tmp_path / name)

        write.tensors = lambda arrays: {
            name: torch.from_numpy(np.array(array)) for name, array in arrays.items()
        }
        return write

    @pytest.mark.parametrize("new_format", [True, False])
    def test_convert(self, write, tmp_path, new_format, capsys):
        shapes, files = golden.layout("fcn_deepsup"), []
        for part in ("encoder", "decoder"):
            state = write.tensors(golden.draw(shapes[part]))
            name = f"{part}_epoch_20.pth"
            files += [
                f"--{part}",
                write(state, name, _use_new_zipfile_serialization=new_format),
            ]
        output = str(tmp_path / "converted.keras")
        command = ["convert", *files, "--output", output]
        assert cli.main(command) == 0
        told = capsys.readouterr().out
        found = "model fcn_resnet18, 150 classes, stem deep, auxiliary head."
        assert f"Found in the checkpoint: {found}" in told
        assert "Assumed, because" in told
        assert "output stride 8, normalization torch." in told
        values = golden.values("fcn_deepsup")
        converted = keras.saving.load_model(output)
        bare = golden.reference_model("fcn_deepsup")
        bare.set_weights(converted.get_weights())
        logits = bare(golden.images(values))["logits"]
        found = keras.ops.log_softmax(logits, axis=-1)
        assert np.abs(found - values["log_probs"]).max() < 1e-4
        assert cli.main(command) == 1
        assert "already exists" in capsys.readouterr().err
        wrong = [*command[:-1], str(tmp_path / "wrong.keras"), "--model", "danet_resnet18"]
        assert cli.main(wrong) == 1
        message = capsys.readouterr().err
        assert "Received: --model 'danet_resnet18'" in message
        assert "encoder_epoch_20.pth and " in message
        assert "belongs to fcn_resnet18 with --num-classes 150" in message
        assert not (tmp_path / "wrong.keras").exists()
        assert cli.main([*command[:-1], str(tmp_path / "wrong.keras"), "--stem", "7x7"]) == 1
        assert "--stem 'deep'. Received: --stem '7x7'" in capsys.readouterr().err
        assert not (tmp_path / "wrong.keras").exists()

    def test_convert_one_file_at_another_output_stride(self, write, tmp_path, capsys):
        parts = genuine_state("fcn")
        file = write({part: write.tensors(state) for part, state in parts.items()})
        output = tmp_path / "converted.keras"
        command = ["convert", file, f"--output={output}"]
        assert cli.main([*command, "--output-stride=16", "--normalization=caffe"]) == 0
        told = capsys.readouterr().out
        assert "output stride 16, normalization caffe." in told
        assert "_running_iter (24)" in told
        expected = blank("fcn_resnet18", num_classes=150, output_stride=16, normalization="caffe")
        pdanet_tf.convert.load_torch_state_dict(expected, *parts.values())
        images = pictures(1, 40, 56)
        converted = keras.saving.load_model(output)
        np.testing.assert_allclose(converted(images), expected(images), atol=1e-5)

    def test_a_backbone_of_torchvision(self, write):
        backbone = pdanet_tf.backbones.resnet18(stem="7x7")
        names = pdanet_tf.convert.torch_names(backbone)
        state = {}
        for weight in backbone.weights:
            shape = weight.shape
            if len(shape) == 4:
                shape = (shape[3], shape[2], *shape[:2])
            name = names[weight.path].removeprefix("encoder.")
            state[name] = np.full(shape, 0.5, "float32")
        # As in torchvision: no projection in the first stage, and a classifier.
        assert "layer1.0.downsample.0.weight" not in state
        assert "layer2.0.downsample.0.weight" in state
        state["fc.weight"], state["fc.bias"] = np.zeros((1000, 512)), np.zeros(1000)
        state["bn1.num_batches_tracked"] = np.array(3)
        read = pdanet_tf.convert.read_torch_file(write(write.tensors(state)))
        unused = pdanet_tf.convert.load_torch_backbone(backbone, read)
        assert len(unused) == 3
        assert all(np.all(weight == 0.5) for weight in backbone.get_weights())

    @pytest.mark.filterwarnings("ignore:Sparse CSR")
    def test_tensors_of_other_kinds(self, write):
        import torch

        values = torch.tensor([[0.0, 1.5], [0.0, -2.0], [0.25, 0.0]])
        read = pdanet_tf.convert.read_torch_file(
            write(
                {
                    "half": values.half(),
                    "bfloat16": values.bfloat16(),
                    "float8": values.to(torch.float8_e4m3fn),
                    "sparse": values.to_sparse(),
                    "compressed": values.to_sparse_csr(),
                    "transposed": values.T.contiguous().T,
                    "slice": torch.cat([values, values], 1)[:, 2:],
                    "parameter": torch.nn.Parameter(values),
                }
            )
        )
        assert len(read) == 8
        for name, array in read.items():
            assert array.dtype == "float32", name
            np.testing.assert_array_equal(array, values.numpy(), err_msg=name)

    def test_what_is_refused(self, write, tmp_path):
        import torch

        class Evil:
            def __reduce__(self):
                return (pathlib.Path.touch, (tmp_path / "executed",))

        read = pdanet_tf.convert.read_torch_file
        evil = tmp_path / "evil.pth"
        evil.write_bytes(pickle.dumps({"weight": Evil()}))
        for file, message in (
            (write({"weight": Evil()}, "zip.pth"), r"zip\.pth.*refused"),
            (evil, r"evil\.pth.*refused"),
            (write({"epoch": 3}, "number.pth"), "epoch"),
            (write([1, 2], "list.pth"), "list"),
            (
                write({"a": torch.ones(2, device="meta")}, "meta.pth"),
                r"meta\.pth: a cannot be read",
            ),
            (write({"a": torch.tensor([np.nan])}, "nan.pth"), r"nan\.pth: .*finite.* a:"),
            (write({"a": torch.ones(2) * 1j}, "complex.pth"), "expected real.*complex64 in a"),
            (write({"a": torch.ones(2) > 0}, "bool.pth"), "expected real.*bool in a"),
            (write({"state_dict": {}}, "empty.pth"), r"empty\.pth: .*Received: nothing"),
        ):
            with pytest.raises(ValueError, match=message) as caught:
                read(file)
            assert "\n" not in str(caught.value)
            assert "weights_only" not in str(caught.value)
            assert not re.search(r"\(\d+\)", str(caught.value))  # an opcode of pickle
        assert not (tmp_path / "executed").exists()
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
            read(tmp_path / "nowhere.pth")


def test_without_pytorch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="the extra 'torch'"):
        pdanet_tf.convert.read_torch_file(tmp_path / "file.pth")
