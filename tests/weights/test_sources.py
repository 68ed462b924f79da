"""Checkpoints of other packages: what is found in them, converted and refused.

The names, shapes and outputs are those of torchvision 0.28.0, see tests/golden/README.md.
"""

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.inference.settings import load_model
from pdanet_tf.models.registry import find_model, variants_of
from pdanet_tf.weights.endings import STATE_ENDINGS
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.sources.checkpoint import SOURCES, recognise
from pdanet_tf.weights.state import _READERS
from tests.support import golden_models as golden
from tests.support.models import blank

TORCHVISION = ("fcn", "deeplabv3")


def state_of(name):
    return golden.draw(golden.layout(name))


def blank_state(shapes):
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """torchvision's FCN of 5 classes with an auxiliary head."""
    path = tmp_path_factory.mktemp("torchvision") / "fcn.npz"
    np.savez(path, **state_of("torchvision_fcn"))
    return path


def test_every_extension_has_a_reader():
    assert set(STATE_ENDINGS) == set(_READERS)


@pytest.mark.parametrize("family", ["fcn", pytest.param("deeplabv3", marks=pytest.mark.slow)])
def test_outputs_of_torchvision(tmp_path, family):
    name, path = f"torchvision_{family}", tmp_path / "file.safetensors"
    save = pytest.importorskip("safetensors.numpy", reason="writes .safetensors").save_file
    save({key: np.atleast_1d(array) for key, array in state_of(name).items()}, path)
    values = golden.values(name)
    has_aux = "aux_logits" in values
    model = blank(f"{family}_resnet50", weights=path, include_preprocessing=False, aux_head=has_aux)
    found = model(golden.images(values))
    found = found if has_aux else {"logits": found}
    for key, logits in found.items():
        np.testing.assert_allclose(logits, values[key], atol=2e-5)


def test_every_source_recognises_its_own_checkpoints_only():
    states = {
        "torchvision": [blank_state(golden.layout(f"torchvision_{name}")) for name in TORCHVISION],
        "CSAIL's semantic-segmentation-pytorch, or PDANet's author": [
            {
                f"{part}.{key}": array
                for part, shapes in golden.layout(name).items()
                for key, array in blank_state(shapes).items()
            }
            for name in golden.MODELS
        ],
    }
    models = [*golden.MODELS.values()]
    for title, examples in states.items():
        for index, state in enumerate(examples):
            recognised = [each.title for each in SOURCES if each.recognises(each.prepare(state))]
            assert recognised == [title]
            found = recognise(state, "file").architecture
            if title != "torchvision":
                assert (found.model, found.aux_head) == models[index]
                assert (found.num_classes, found.stem, found.variant) == (150, "deep", None)
            # A training framework keeps the network in an attribute.
            wrapped = {f"net.{key}": array for key, array in state.items()}
            assert recognise(wrapped, "file").architecture == found


def test_convert_finds_the_model(file, tmp_path, capsys):
    output = tmp_path / "fcn.keras"
    assert cli.main(["convert", str(file), "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert "holds fcn_resnet50_torchvision." in told
    assert (
        "model fcn_resnet50, 5 classes, variant torchvision, auxiliary head.\n"
        "Its names are those of torchvision.\n"
        "Not used: num_batches_tracked (55)." in told
    )
    assert "Assumed" not in told
    values = golden.values("torchvision_fcn")
    model = keras.saving.load_model(output)
    bare = blank("fcn_resnet50", variant="torchvision", include_preprocessing=False, aux_head=True)
    bare.set_weights(model.get_weights())
    logits = bare(golden.images(values))["logits"]
    np.testing.assert_allclose(logits, values["logits"], atol=2e-5)


@pytest.mark.parametrize(
    ("options", "received"),
    [
        (["--model", "pspnet_resnet50"], "--model 'pspnet_resnet50'"),
        (["--num-classes", "21"], "--num-classes 21"),
        (["--variant", "smp"], "--variant 'smp'"),
        (["--output-stride", "16"], "--output-stride 16"),
        (["--normalization", "caffe"], "--normalization 'caffe'"),
        (["--stem", "deep"], "--stem 'deep'"),
    ],
)
def test_contradictions_are_refused_before_anything_is_written(
    file, tmp_path, capsys, options, received
):
    output = tmp_path / "fcn.keras"
    assert cli.main(["convert", str(file), "--output", str(output), *options]) == 1
    message = capsys.readouterr().err
    assert f"Received: {received}" in message
    assert len(message.splitlines()) == 1
    assert "fcn_resnet50" in message
    assert not output.exists()


def test_names_of_another_version_are_listed_with_the_nearest_model(tmp_path, capsys):
    state = state_of("torchvision_fcn")
    moved = {
        key.replace("classifier.1.", "classifier.norm."): array for key, array in state.items()
    }
    del moved["backbone.layer4.2.conv3.weight"]
    moved["backbone.layer3.0.conv1.weight"] = np.zeros((7, 512, 1, 1), "float32")
    np.savez(tmp_path / "old.npz", **moved)
    output = tmp_path / "old.keras"
    assert cli.main(["convert", str(tmp_path / "old.npz"), "--output", str(output)]) == 1
    message = capsys.readouterr().err
    assert "missing: c5_block3_conv3/conv/kernel (backbone.layer4.2.conv3.weight) (1, 1" in message
    assert "missing: head_conv/batch_norm/gamma (classifier.1.weight) (512,)" in message
    assert "unexpected: classifier.norm.weight (512,)" in message
    assert "c4_block1_conv1/conv/kernel (backbone.layer3.0.conv1.weight): expected" in message
    assert "The nearest model is fcn_resnet50 with --num-classes 5" in message
    assert not output.exists()


def test_files_that_are_of_no_source(tmp_path):
    np.savez(tmp_path / "odd.npz", **{f"block{i}.weight": np.ones(2) for i in range(9)})
    with pytest.raises(
        ValueError, match=r"odd\.npz: no known package.*'block0.*and 6 more.*torchv"
    ):
        pdanet_tf.build_model("fcn_resnet18", weights=tmp_path / "odd.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    with pytest.raises(ValueError, match=r"broken\.npz: damaged, or of another format"):
        pdanet_tf.build_model("fcn_resnet18", weights=tmp_path / "broken.npz")
    np.savez(tmp_path / "object.npz", a=np.array([{}]))
    with pytest.raises(ValueError, match=r"object\.npz: damaged"):
        pdanet_tf.build_model("fcn_resnet18", weights=tmp_path / "object.npz")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_weights(blank("fcn_resnet18"), tmp_path / "nowhere.npz")


def test_a_damaged_safetensors_file_is_named(tmp_path):
    pytest.importorskip("safetensors", reason="reads .safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"broken\.safetensors: damaged, or of another format"):
        pdanet_tf.build_model("fcn_resnet18", weights=tmp_path / "broken.safetensors")


def test_arguments_of_build_model_are_completed_or_contradict(file):
    for options, received in (
        ({}, "num_classes=150"),
        ({"num_classes": 5, "output_stride": 16}, "output_stride=16"),
    ):
        with pytest.raises(ValueError, match=f"fcn_resnet50 with num_classes=5.*{received}"):
            pdanet_tf.build_model("fcn_resnet50", weights=file, **options)
    with pytest.raises(ValueError, match="fcn_resnet50 has no choice of stem"):
        pdanet_tf.build_model("fcn_resnet50", 5, weights=file, stem="deep")
    with pytest.raises(ValueError, match="Received: model='deeplabv3_resnet50'"):
        pdanet_tf.build_model("deeplabv3_resnet50", 5, weights=file)


def test_a_part_of_a_checkpoint(file):
    model = blank("pspnet_resnet50", num_classes=3, stem="7x7")
    loaded = load_weights(model, file, strict=False)
    assert loaded.backbone == "resnet50"
    assert loaded.stored_model == "fcn_resnet50"
    assert "fusion" in loaded.describe()
    kernel = model.get_layer("resnet50").get_layer("c5_block3_conv3").conv.kernel
    expected = state_of("torchvision_fcn")["backbone.layer4.2.conv3.weight"]
    np.testing.assert_array_equal(kernel, expected.transpose(2, 3, 1, 0))
    with pytest.raises(ValueError, match=r"holds fcn_resnet50 .*stem='7x7', whose backbone does"):
        load_weights(blank("pspnet_resnet50"), file, strict=False)


def test_inference_takes_a_checkpoint(file):
    for arguments in ((file,), ("fcn_resnet50", file)):
        model, settings = load_model(*arguments)
        assert model.name == "fcn_resnet50_torchvision"
        assert settings is None
    with pytest.raises(ValueError, match="Received: model='fcn_resnet101'"):
        load_model("fcn_resnet101", file)


def test_variants_are_listed_and_checked():
    assert "torchvision" in variants_of("fcn_resnet50")
    assert find_model("fcn_resnet50", "torchvision").output_stride == 8
    with pytest.raises(ValueError, match=r"fcn_resnet50 has the variants .*variant='tv'$"):
        pdanet_tf.build_model("fcn_resnet50", variant="tv")
    with pytest.raises(
        ValueError, match=r"pdanet_resnet18 has no variants.*these models have: fcn"
    ):
        pdanet_tf.build_model("pdanet_resnet18", variant="torchvision")
    with pytest.raises(ValueError, match="fcn_resnet50 has no choice of stem"):
        pdanet_tf.build_model("fcn_resnet50", variant="torchvision", stem="7x7")
