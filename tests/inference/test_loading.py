"""Models from an architecture's name and weights, in Python and on the command line."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import Classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings, load_model

NAME = "segnet_basic"
SETTINGS = InferenceSettings(
    Classes(("sky", "road", "tree"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))), Protocol((40,))
)


def pixels(*size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model(NAME, num_classes=3)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Weights in both formats, with the settings beside them."""
    folder = tmp_path_factory.mktemp("weights")
    model.save(folder / "best.keras")
    model.save_weights(folder / "best.weights.h5")
    SETTINGS.save(folder)
    return folder


@pytest.mark.parametrize("file", ["best.keras", "best.weights.h5"])
def test_an_architecture_with_weights_from_a_file(model, folder, file):
    predictor = pdanet_tf.Predictor(NAME, weights=folder / file)
    assert predictor.classes == SETTINGS.classes
    assert predictor.protocol == SETTINGS.protocol
    for found, wanted in zip(predictor.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    expected = pdanet_tf.Predictor(model, SETTINGS.protocol).label_map(pixels(40, 56))
    found = pdanet_tf.predict(pixels(40, 56), NAME, weights=folder / file)
    np.testing.assert_array_equal(found.label_map, expected)
    assert found.classes == SETTINGS.classes


def test_a_model_file_keeps_the_options_that_it_was_built_with(tmp_path):
    name = "fcn_resnet18"
    built = pdanet_tf.build_model(
        name, 3, normalization="caffe", output_stride=16, stem="7x7", aux_head=True
    )
    built.save(tmp_path / "best.keras")
    loaded, settings = load_model(name, tmp_path / "best.keras")
    assert settings is None
    images = pixels(40, 56)[None].astype("float32")
    np.testing.assert_array_equal(loaded(images)["logits"], built(images)["logits"])


@pytest.mark.parametrize("name", ["danet_resnet18", "fcn_resnet18"])
def test_the_number_of_classes_is_read_from_weights(name, tmp_path):
    built = pdanet_tf.build_model(name, 4)
    built.save_weights(tmp_path / "some.weights.h5")
    loaded, _ = load_model(name, tmp_path / "some.weights.h5")
    assert loaded.output.shape[-1] == 4
    for found, wanted in zip(loaded.get_weights(), built.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_weights_that_do_not_tell_the_number_of_classes(tmp_path):
    images = keras.Input((None, None, 3))
    keras.Model(images, keras.layers.Conv2D(3, 1)(images)).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match=r"a\.weights\.h5: the number of classes cannot be read"):
        load_model(NAME, tmp_path / "a.weights.h5")
    SETTINGS.save(tmp_path)  # tells the number, but the weights are of another network
    with pytest.raises(ValueError, match=r"a\.weights\.h5 do not fit 'segnet_basic'"):
        load_model(NAME, tmp_path / "a.weights.h5")


def test_weights_and_settings_of_other_classes(folder, tmp_path):
    InferenceSettings(Classes.numbered(2), Protocol()).save(tmp_path)
    for file in ("best.keras", "best.weights.h5"):
        shutil.copy(folder / file, tmp_path)
        with pytest.raises(ValueError, match=r"inference\.json: expected the 3 classes .* found 2"):
            load_model(NAME, tmp_path / file)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("danet_resnet18", "best.keras", "expected 'danet_resnet18', found 'segnet_basic'"),
        ("danet_resnet18", "best.weights.h5", "do not fit 'danet_resnet18'"),
        ("segnet_base", "best.keras", "no model named 'segnet_base'. Did you mean: segnet_basic"),
        ("best.keras", "best.keras", "requires the name of an architecture.*model='best.keras'"),
        ("ade20k-resnet18dilated-c1_deepsup", "best.keras", "requires the name of an architecture"),
        (NAME, "missing.weights.h5", "There is no weights file at .*missing"),
        (NAME, "missing.keras", "There is no model file at .*missing"),
        ("pspnet_resnet18", "ade20k-resnet18dilated-c1_deepsup", "belongs to model='fcn_resnet18'"),
        (NAME, "damaged.weights.h5", "damaged.weights.h5: the weights cannot be read"),
    ],
)
def test_what_does_not_belong_together(name, weights, message, folder):
    (folder / "damaged.weights.h5").write_bytes(b"no HDF5")
    if (folder / weights).exists() or weights.startswith("missing"):
        weights = folder / weights
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_model(name, weights)


def test_a_model_has_weights_of_its_own(model, folder):
    with pytest.raises(ValueError, match="Received: model='segnet_basic', weights="):
        pdanet_tf.predict(pixels(8, 8), model, weights=folder / "best.keras")


def test_weights_alone_are_no_model(folder):
    with pytest.raises(ValueError, match="holds weights, but no model"):
        load_model(folder / "best.weights.h5")


def test_the_commands_take_an_architecture_and_weights(model, folder, tmp_path, capsys):
    image = tmp_path / "images" / "validation" / "a.png"
    label = tmp_path / "annotations" / "validation" / "a.png"
    for file, array in ((image, pixels(40, 56)), (label, pixels(40, 56)[..., 0] % 3)):
        file.parent.mkdir(parents=True)
        Image.fromarray(array).save(file)
    weights = ["--model", NAME, "--weights", str(folder / "best.weights.h5")]
    assert cli.main(["predict", str(image), *weights, "--output", str(tmp_path / "out")]) == 0
    expected = pdanet_tf.Predictor(model, SETTINGS.protocol).label_map(pixels(40, 56))
    with Image.open(tmp_path / "out" / "a_labels.png") as labels:
        np.testing.assert_array_equal(labels, expected)
    assert any(name in capsys.readouterr().out for name in SETTINGS.classes.names)

    data = ["--dataset", "folder", "--data-dir", str(tmp_path), "--num-classes", "3"]
    saved = ["--save-predictions", str(tmp_path / "saved")]
    assert cli.main(["evaluate", *weights, *data, *saved]) == 0
    with Image.open(tmp_path / "saved" / "a.png") as labels:
        np.testing.assert_array_equal(labels, expected)
    stored = ["evaluate", "--predictions", str(tmp_path / "saved"), *data]
    assert cli.main([*stored, *weights[2:]]) == 1
    assert "require --model" in capsys.readouterr().err

    assert cli.main(["export", *weights, "--output", str(tmp_path / "served")]) == 0
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()
    assert cli.main(["export", "--model", NAME, "--output", str(tmp_path / "2")]) == 1
    assert "or the architecture with weights for it" in capsys.readouterr().err
