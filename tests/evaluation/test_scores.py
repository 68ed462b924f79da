"""The scores of models and of stored predictions."""

import json
import shutil

import keras
import numpy as np
import pytest
import rich.console
from PIL import Image

import pdanet_tf
from pdanet_tf.data import Classes, DataError, FolderDataset, load_dataset
from pdanet_tf.evaluation.scoring import evaluate_predictions


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18", num_classes=3)


def test_names_are_printed_as_they_are(model, make_folder):
    dataset = FolderDataset(make_folder(), "train", Classes.named(("[bold]", "[/x]", "c")))
    console = rich.console.Console(width=80)
    with console.capture() as captured:
        console.print(pdanet_tf.evaluate(model, dataset, progress=False).table())
    assert "[bold]" in captured.get()
    assert "[/x]" in captured.get()


def test_evaluate_counts_what_predict_paints(model, make_folder):
    dataset = FolderDataset(make_folder(), "train", Classes.numbered(3))
    evaluation = pdanet_tf.evaluate(model, dataset, progress=False)
    right = pixels = 0
    for index in range(len(dataset)):
        image, label = dataset.read(index)
        right += (pdanet_tf.predict(image, model).label_map == label).sum()
        pixels += label.size
    assert evaluation.scores.pixel_accuracy == right / pixels
    assert evaluation.images == 3


def test_evaluate_with_another_number_of_classes(model):
    with pytest.raises(ValueError, match="3 classes, the data set 8"):
        pdanet_tf.evaluate(model, load_dataset("synthetic", "validation"))


def test_the_official_score_of_a_stored_prediction(ade20k_sample, tmp_path):
    dataset = load_dataset("ade20k", "validation", ade20k_sample / "ADEChallengeData2016")
    stored = ade20k_sample / "prediction_ADE_val_00000278.png"
    shutil.copy(stored, tmp_path / "ADE_val_00000278.png")
    evaluation = evaluate_predictions(tmp_path, dataset, progress=False)
    evaluation.save(tmp_path / "scores.json")
    found = json.loads((tmp_path / "scores.json").read_text())
    expected = json.loads((ade20k_sample / "expected_metrics.json").read_text())
    expected = expected["ADE_val_00000278"]
    assert found["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=1e-9)
    assert found["mean_iou"] == pytest.approx(expected["mean_iou_over_150"], abs=1e-9)
    assert found["mean_iou_present"] == pytest.approx(expected["mean_iou_over_present"], abs=1e-9)
    assert found["valid_pixels"] == expected["valid_pixels"]
    assert found["classes_present"] == expected["classes_present"]


def test_bad_stored_predictions(make_folder, tmp_path):
    dataset = FolderDataset(make_folder(), "train", Classes.numbered(3))
    folder = tmp_path / "predictions"
    shutil.copytree(tmp_path / "dataset" / "annotations" / "train", folder)
    assert evaluate_predictions(folder, dataset, progress=False).scores.mean_iou == pytest.approx(1)
    for array, message in (
        (np.zeros((24, 30), "uint8"), "24 x 30"),
        (np.full((24, 32), 255, "uint8"), "without a class"),
        (np.full((24, 32), 3, "uint8"), "labels 3"),
    ):
        Image.fromarray(array).save(folder / "scene_1.png")
        with pytest.raises(DataError, match=message) as caught:
            evaluate_predictions(folder, dataset, progress=False)
        assert "scene_1.png" in str(caught.value)
    (folder / "scene_1.png").unlink()
    with pytest.raises(DataError, match=r"scene_1\.png"):
        evaluate_predictions(folder, dataset, progress=False)
