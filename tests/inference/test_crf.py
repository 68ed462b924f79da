"""Refining probabilities with a CRF, against mean field on explicit kernel matrices."""

import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.inference.crf import CRFParameters, dense_crf
from pdanet_tf.inference.predictor import Predictor


def brute_force(image, probabilities, parameters):
    """Mean field in float64, with one weight for each of all pairs of pixels."""
    height, width, num_classes = probabilities.shape
    positions = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2).astype("float64")
    colors = image.reshape(-1, 3) / parameters.bilateral_color_std
    appearance = np.concatenate([positions / parameters.bilateral_position_std, colors], 1)
    weights = parameters.bilateral_weight * _kernel(appearance)
    weights += parameters.gaussian_weight * _kernel(positions / parameters.gaussian_position_std)
    logits = np.log(probabilities.reshape(-1, num_classes).astype("float64"))
    refined = _softmax(logits)
    for _ in range(parameters.iterations):
        # Less a constant, Potts' penalty for other labels is a reward for the same one.
        refined = _softmax(logits + weights @ refined)
    return refined.reshape(probabilities.shape)


def _kernel(features):
    kernel = np.exp(-((features[:, None] - features) ** 2).sum(-1) / 2)
    norm = np.sqrt(kernel.sum(1))
    return kernel / norm / norm[:, None]


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def noisy_scene(seed, height=12, width=16):
    """Three flat regions with noise, and a guess at them that is right in 4 pixels of 5."""
    rng = np.random.default_rng(seed)
    label = np.zeros((height, width), int)
    label[:, width // 2 :] = 1
    label[height // 2 :, width // 4 : 3 * width // 4] = 2
    colors = np.array([[60, 80, 120], [150, 140, 90], [90, 170, 60]])[label]
    image = np.clip(colors + rng.normal(0, 8, (height, width, 3)), 0, 255).astype("uint8")
    logits = 1.5 * np.eye(3)[label] + rng.normal(0, 1, (height, width, 3))
    return image, _softmax(logits).astype("float32"), label


# The limits are about twice the worst that the lattice's error was measured to do on twenty scenes.
# The weak kernels stay off saturation: there, leaving each pixel out of its own neighbours would
# change the mean by 0.015, and not normalising by 0.12. With DeepLab's, a few pixels have hardly a
# neighbour of their colour and tip over, so that only the mean and the labels are compared.
@pytest.mark.parametrize(
    ("parameters", "largest", "mean", "agreement"),
    [
        (CRFParameters(10, 1, 67, 13, 1, 1), 0.06, 0.005, 0.97),
        (CRFParameters(10, 4, 5, 20, 3, 2), 0.06, 0.001, 0.99),
        (CRFParameters(1, 4, 67, 20, 3, 1), 0.15, 0.006, 0.99),
        (CRFParameters(), 1, 0.03, 0.96),
    ],
    ids=["weak", "near", "one_iteration", "deeplab"],
)
@pytest.mark.parametrize("seed", range(3))
def test_against_brute_force(pydensecrf, parameters, largest, mean, agreement, seed):
    image, probabilities, _ = noisy_scene(seed)
    expected = brute_force(image, probabilities, parameters)
    found = dense_crf(image, probabilities, parameters)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    difference = np.abs(found - expected)
    assert difference.max() <= largest
    assert difference.mean() <= mean
    assert (found.argmax(-1) == expected.argmax(-1)).mean() >= agreement
    # Or else handing back what came in might do.
    assert np.abs(expected - probabilities).mean() > 0.1


def test_a_noisy_guess_becomes_the_scene(pydensecrf):
    image, probabilities, label = noisy_scene(0)
    assert (probabilities.argmax(-1) == label).mean() < 0.85
    assert (dense_crf(image, probabilities).argmax(-1) == label).mean() > 0.93


def test_an_isolated_wrong_pixel_is_corrected(pydensecrf):
    probabilities = np.full((9, 14, 2), (0.8, 0.2), "float32")
    probabilities[4, 6] = 0.3, 0.7
    refined = dense_crf(np.full((9, 14, 3), 100, "uint8"), probabilities)
    assert (refined.argmax(-1) == 0).all()


def test_probabilities_sharpen_toward_an_edge_of_the_image(pydensecrf):
    image = np.zeros((10, 21, 3), "uint8")
    image[:, 8:] = 200
    # The guess has its border between columns 10 and 11, and is blurred.
    left = 1 / (1 + np.exp((np.arange(21) - 10.5) / 3))
    probabilities = np.tile(np.stack([left, 1 - left], -1), (10, 1, 1)).astype("float32")
    refined = dense_crf(image, probabilities)
    np.testing.assert_array_equal(refined.argmax(-1), np.tile(np.arange(21) >= 8, (10, 1)))
    assert refined[:, 7, 0].min() > 0.95
    assert refined[:, 8, 1].min() > 0.95


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (5, 8)])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 5])
def test_uniform_probabilities_stay(pydensecrf, size, num_classes):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    probabilities = np.full((*size, num_classes), 1 / num_classes, "float32")
    np.testing.assert_allclose(dense_crf(image, probabilities), probabilities, atol=1e-6)


def test_rows_and_columns_are_not_confused(pydensecrf):
    image, probabilities, _ = noisy_scene(0)
    parameters = CRFParameters(bilateral_color_std=20)
    upright = dense_crf(image, probabilities, parameters)
    # A view, not contiguous.
    lying = dense_crf(image.swapaxes(0, 1), probabilities.swapaxes(0, 1), parameters)
    assert lying.shape == (16, 12, 3)
    np.testing.assert_allclose(lying.swapaxes(0, 1), upright, atol=0.1)


def test_arguments_are_left_as_they_are(pydensecrf):
    image, probabilities, _ = noisy_scene(0)
    read_only = np.asarray(Image.fromarray(image))
    assert not read_only.flags.writeable
    before = probabilities.copy()
    refined = dense_crf(read_only, probabilities)
    np.testing.assert_array_equal(refined, dense_crf(image, probabilities))
    np.testing.assert_array_equal(probabilities, before)


def test_certain_probabilities_are_finite(pydensecrf):
    probabilities = np.zeros((6, 8, 2), "float32")
    probabilities[:, :4, 0] = probabilities[:, 4:, 1] = 1
    refined = dense_crf(np.zeros((6, 8, 3), "uint8"), probabilities)
    np.testing.assert_allclose(refined, probabilities, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "probabilities", "message"),
    [
        (np.zeros((4, 6), "uint8"), np.ones((4, 6, 1), "float32"), r"shape=\(4, 6\)"),
        (np.zeros((4, 6, 4), "uint8"), np.ones((4, 6, 1), "float32"), r"\(4, 6, 4\)"),
        (np.zeros((4, 6, 3), "float32"), np.ones((4, 6, 1), "float32"), "dtype=float32"),
        (np.zeros((0, 6, 3), "uint8"), np.ones((0, 6, 1), "float32"), r"\(0, 6, 3\)"),
        (np.zeros((4, 6, 3), "uint8"), np.ones((6, 4, 1), "float32"), r"\(4, 6, num_classes\)"),
        (np.zeros((4, 6, 3), "uint8"), np.ones((4, 6), "float32"), r"shape=\(4, 6\)"),
        (np.zeros((4, 6, 3), "uint8"), np.ones((4, 6, 0), "float32"), r"shape=\(4, 6, 0\)"),
        (np.zeros((4, 6, 3), "uint8"), np.ones((4, 6, 1), "float64"), "dtype=float64"),
        (np.zeros((4, 6, 3), "uint8"), np.ones((4, 6, 2), "float32"), "sum to 1.* 2.0"),
        (np.zeros((4, 6, 3), "uint8"), np.full((4, 6, 1), np.nan, "float32"), "nan"),
        (
            np.zeros((1, 1, 3), "uint8"),
            np.array([[[1.5, -0.5]]], "float32"),
            "at least 0.* -0.5",
        ),
    ],
)
def test_bad_input(image, probabilities, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(image, probabilities)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0),
        ("iterations", 2.5),
        ("bilateral_weight", 0),
        ("bilateral_position_std", -1.0),
        ("bilateral_color_std", float("nan")),
        ("gaussian_weight", float("inf")),
        ("gaussian_position_std", 0.0),
    ],
)
def test_bad_parameters(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        CRFParameters(**{name: value})


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ImportError, match="extra 'crf'"):
        dense_crf(*noisy_scene(0)[:2])


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    pdanet_tf.build_model("fcn_resnet18", num_classes=3).save(path)
    return path


def test_predictions_are_refined(pydensecrf, model_file):
    model = keras.saving.load_model(model_file)
    image = noisy_scene(0)[0]
    parameters = CRFParameters(iterations=3)
    plain = Predictor(model)
    expected = dense_crf(image, plain.probabilities(image), parameters)
    refined = Predictor(model, crf=parameters)
    np.testing.assert_allclose(refined.probabilities(image), expected, atol=1e-5)
    np.testing.assert_array_equal(refined.label_map(image), expected.argmax(-1))
    prediction = pdanet_tf.predict(image, model, crf=parameters)
    np.testing.assert_array_equal(prediction.label_map, expected.argmax(-1))
    # Labels of another size than the image's are refined along the image at their size.
    size = (image.shape[0] + 5, image.shape[1] - 3)
    assert refined.probabilities(image, size).shape[:2] == size


def test_the_command_line_refines(pydensecrf, model_file, make_folder, tmp_path):
    root = make_folder()
    data = ["--dataset", "folder", "--data-dir", str(root), "--num-classes", "3"]
    figures = []
    for extra in ([], ["--crf"], ["--crf", "iterations=2", "bilateral_color_std=5.5"]):
        file = tmp_path / f"{len(figures)}.json"
        command = ["evaluate", "--model", str(model_file), *data, "--json", str(file)]
        assert cli.main([*command, *extra]) == 0
        figures.append(json.loads(file.read_text())["iou_per_class"])
    image = str(root / "images" / "train" / "scene_0.jpg")
    command = ["predict", image, "--model", str(model_file), "--output", str(tmp_path / "out")]
    assert cli.main([*command, "--crf"]) == 0
    dataset = pdanet_tf.load_dataset("folder", "validation", root, num_classes=3)
    model = keras.saving.load_model(model_file)
    given = CRFParameters(iterations=2, bilateral_color_std=5.5)
    for parameters, found in zip((None, CRFParameters(), given), figures, strict=True):
        expected = pdanet_tf.evaluate(model, dataset, progress=False, crf=parameters)
        assert expected.to_dict()["iou_per_class"] == found


@pytest.mark.parametrize("setting", ["iterations", "iterations=two", "strength=3"])
def test_settings_that_are_none(model_file, make_folder, setting, capsys):
    image = str(make_folder() / "images" / "train" / "scene_0.jpg")
    assert cli.main(["predict", image, "--model", str(model_file), "--crf", setting]) == 1
    assert "NAME=VALUE with a name of iterations, " in (message := capsys.readouterr().err)
    assert f"Received: {setting}" in message


def test_a_missing_package_is_told_before_anything_is_predicted(monkeypatch, model_file):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ImportError, match="extra 'crf'"):
        Predictor(keras.saving.load_model(model_file), crf=CRFParameters())
