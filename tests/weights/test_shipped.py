"""The trained models that come with the package."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import CAMVID_CLASSES
from pdanet_tf.sharing.card import is_own_card
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.shipped import SHIPPED
from tests.support.folders import write_folder

LARGEST = 16e6  # bytes
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def predictor():
    return pdanet_tf.Predictor("camvid")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_is_the_one_that_its_card_describes(name):
    shipped = SHIPPED[name]
    content = shipped.file.read_bytes()
    assert len(content) <= LARGEST
    assert hashlib.sha256(content).hexdigest() == shipped.sha256
    card = (shipped.file.parent / "README.md").read_text("utf-8")
    assert shipped.sha256 in card
    assert shipped.model in card
    assert is_own_card(card)


def test_the_card_has_the_figures_of_the_report_and_what_people_wrote():
    card = (SHIPPED["camvid"].file.parent / "README.md").read_text("utf-8")
    figures = json.loads((ROOT / "results" / "camvid" / "shipped_model.json").read_text())
    assert f"| mean IoU | {figures['mean_iou']:.4f} |" in card
    assert f"2017): {figures['expected_calibration_error']:.4f}" in card
    for name, value in figures["iou_per_class"].items():
        assert re.search(rf"\| {name} \| [\d, ]+ \| {value:.3f} \|", card), name
    for text in ("train_on_jax.py --data-dir CamVid --epochs 500", "CC BY-NC 4.0", "691 of"):
        assert text in card
    # No image of CamVid is in the repository.
    report = (ROOT / "results" / "camvid" / "shipped_model.html").read_text("utf-8")
    assert "<img" not in report
    assert "data:image" not in report.partition("</style>")[2]


def test_it_is_a_model_in_float32_with_the_names_of_its_classes(predictor):
    assert predictor.model.dtype == "float32"
    assert predictor.model.name == SHIPPED["camvid"].model
    assert predictor.classes == CAMVID_CLASSES


def test_it_segments_real_scenes(predictor, camvid_folder):
    """Eight validation images; over all 101, the mean IoU is that of the card."""
    dataset = pdanet_tf.load_dataset("camvid", "validation", camvid_folder)
    correct = labelled = 0
    for index in range(0, len(dataset), 13):
        image, label = dataset.read(index)
        valid = label < dataset.num_classes
        correct += ((predictor.predict(image).label_map == label) & valid).sum()
        labelled += valid.sum()
    assert correct / labelled > 0.9


def test_predict_needs_no_model(tmp_path, capsys):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), "uint8")).save(tmp_path / "photo.png")
    output = tmp_path / "out"
    assert cli.main(["predict", str(tmp_path / "photo.png"), "--output", str(output)]) == 0
    names = {part.split(" ")[0] for part in capsys.readouterr().out.split(": ")[1].split(", ")}
    assert names <= {word for name in CAMVID_CLASSES.names for word in name.split(" ")}
    with Image.open(next(output.glob("*labels*"))) as labels:
        assert labels.size == (80, 60)


def test_the_command_for_the_test_images(tmp_path, capsys):
    """One command scores a run on `test` and `testannot`, at the size of the annotations."""
    folder = write_folder(tmp_path / "usual", 2, size=(45, 60), splits=("test",), highest=10)
    tutorial = tmp_path / "tutorial"
    shutil.copytree(folder / "images" / "test", tutorial / "test")
    shutil.copytree(folder / "annotations" / "test", tutorial / "testannot")
    command = ["evaluate", "--model", "camvid", "--dataset", "camvid", "--split", "test"]
    command += ["--data-dir", str(tutorial)]
    assert cli.main([*command, "--json", str(tmp_path / "scores.json")]) == 0
    assert "2 images" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["images"], scores["valid_pixels"]) == (2, 2 * 45 * 60)
    assert list(scores["iou_per_class"]) == list(CAMVID_CLASSES.names)


def test_another_architecture_is_refused():
    with pytest.raises(ValueError, match="the trained model 'camvid'"):
        pdanet_tf.build_model("pdanet_resnet18", 11, weights="camvid")


def test_fine_tuning_begins_with_it():
    model = pdanet_tf.build_model(SHIPPED["camvid"].model, num_classes=2)
    loaded = load_weights(model, "camvid", strict=False)
    assert "except classifier" in loaded.describe()
