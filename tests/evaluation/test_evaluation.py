"""Evaluation by the protocol, on images of odd sizes: scores, stored predictions, resuming."""

import json

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.data import DataError, load_dataset
from pdanet_tf.evaluation.scoring import evaluate_predictions
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from tests.support.protocols import (  # noqa: F401 (three are fixtures)
    CLASSES,
    PROTOCOLS,
    dataset_of_odd_sizes,
    decisive_model,
    images_of_odd_sizes,
)


@pytest.mark.slow
def test_the_official_score_is_that_of_the_twin(model, dataset, tmp_path):
    """Sums over the set, an absent class counts as 0, label 0 does not count."""
    protocol = PROTOCOLS["several sizes"]
    evaluation = pdanet_tf.evaluate(
        model, dataset, protocol, progress=False, predictions=tmp_path / "predicted"
    )
    intersection, union = np.zeros(CLASSES), np.zeros(CLASSES)
    correct = valid = 0
    for index in range(len(dataset)):
        with Image.open(dataset.root / "annotations" / "validation" / f"scene_{index}.png") as file:
            label = np.asarray(file).astype(int) - 1
        with Image.open(tmp_path / "predicted" / f"scene_{index}.png") as file:
            assert file.mode == "L"
            prediction = np.asarray(file).astype(int) - 1  # the official numbering begins at 1
        image, _ = dataset.read(index)
        expected = Predictor(model, protocol).label_map(image, label.shape)
        np.testing.assert_array_equal(prediction, expected)
        counted = label >= 0
        correct, valid = correct + np.sum((label == prediction) & counted), valid + counted.sum()
        for number in range(CLASSES):
            here, there = (prediction == number) & counted, label == number
            intersection[number] += np.sum(here & there)
            union[number] += np.sum(here | there)
    iou = intersection / (union + 1e-10)
    figures = evaluation.to_dict()
    assert figures["mean_iou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert figures["pixel_accuracy"] == pytest.approx(correct / valid, abs=1e-12)
    assert list(figures["iou_per_class"].values()) == pytest.approx(iou, abs=1e-12)
    again = evaluate_predictions(tmp_path / "predicted", dataset, progress=False)
    assert again.to_dict() == figures
    assert evaluation.chart().width > 100


def test_an_evaluation_goes_on_where_it_stopped(model, dataset, tmp_path, monkeypatch):
    folder = tmp_path / "predicted"
    arguments = {"protocol": PROTOCOLS["flip"], "progress": False, "predictions": folder}
    whole = pdanet_tf.evaluate(model, dataset, PROTOCOLS["flip"], progress=False)
    predict, seen = Predictor.label_map, []

    def break_down(self, image, size):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(size)
        return predict(self, image, size)

    monkeypatch.setattr(Predictor, "label_map", break_down)
    with pytest.raises(KeyboardInterrupt):
        pdanet_tf.evaluate(model, dataset, **arguments)
    assert sorted(path.name for path in folder.glob("*.png")) == ["scene_0.png", "scene_1.png"]
    with pytest.raises(FileExistsError, match="resume=True"):
        pdanet_tf.evaluate(model, dataset, **arguments)
    rest = []
    monkeypatch.setattr(
        Predictor,
        "label_map",
        lambda self, image, size: rest.append(size) or predict(self, image, size),
    )
    resumed = pdanet_tf.evaluate(model, dataset, resume=True, **arguments)
    assert len(rest) == 2
    assert resumed.to_dict() == whole.to_dict()
    with pytest.raises(ValueError, match=r"come from another evaluation: their protocol is"):
        pdanet_tf.evaluate(
            model, dataset, Protocol((16,)), progress=False, predictions=folder, resume=True
        )
    Image.new("L", (3, 3), 1).save(folder / "scene_0.png")
    with pytest.raises(DataError, match=r"scene_0\.png: the stored prediction is 3 x 3"):
        pdanet_tf.evaluate(model, dataset, resume=True, **arguments)
    with pytest.raises(ValueError, match="requires predictions, the folder"):
        pdanet_tf.evaluate(model, dataset, resume=True)


def test_predictions_of_other_images_are_not_resumed(model, dataset, folder, tmp_path):
    store = tmp_path / "predicted"
    arguments = {"protocol": Protocol((16,)), "progress": False, "predictions": store}
    pdanet_tf.evaluate(model, dataset, **arguments)
    arguments["resume"] = True
    pixels = folder / "images" / "validation" / "scene_2.png"
    former = pixels.read_bytes()
    Image.new("RGB", (90, 8), (9, 90, 200)).save(pixels)  # of the same size
    with pytest.raises(DataError, match=r"scene_2\.png: .* belongs to another image"):
        pdanet_tf.evaluate(model, dataset, **arguments)
    pixels.write_bytes(former)
    pdanet_tf.evaluate(model, dataset, **arguments)
    for kind in ("images", "annotations"):
        path = folder / kind / "validation" / "scene_3.png"
        with Image.open(path) as file:
            file.resize((24, 25), Image.Resampling.NEAREST).save(path)
    with pytest.raises(ValueError, match="evaluation: their sizes of the images differ") as raised:
        pdanet_tf.evaluate(model, dataset, **arguments)
    assert "names" not in str(raised.value)
    for kind in ("images", "annotations"):
        (folder / kind / "validation" / "scene_0.png").unlink()
    fewer = load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)
    with pytest.raises(ValueError, match="number of images is 4, not 3; their names of the images"):
        pdanet_tf.evaluate(model, fewer, **arguments)
    (store / "origin.json").unlink()
    with pytest.raises(ValueError, match=r"holds files, but no origin\.json"):
        pdanet_tf.evaluate(model, fewer, **arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([255], "no pixel of any annotation has a class"),
        ([0, 255], "all annotations contain only 0 and 255"),
        ([1], None),  # one class only, which may be scored
    ],
)
def test_labels_that_no_score_can_be_of(model, folder, tmp_path, values, message):
    for path in (folder / "annotations" / "validation").iterdir():
        with Image.open(path) as file:
            size = file.size
        Image.fromarray(np.resize(np.array(values, "uint8"), size[::-1])).save(path)
    dataset = load_dataset("folder", "validation", folder, num_classes=CLASSES)

    def score():
        return pdanet_tf.evaluate(model, dataset, Protocol((16,)), progress=False)

    if message is None:
        assert score().scores.pixels.tolist() == [0, 25 * 25 + 31 * 47 + 64 * 40 + 8 * 90, 0, 0]
        return
    with pytest.raises(DataError, match=message):
        score()
    with pytest.raises(DataError, match=message):  # before it asks for a prediction
        evaluate_predictions(tmp_path / "nowhere", dataset, progress=False)


def test_the_command_line_knows_the_protocol(model, folder, tmp_path, capsys):
    model.save(tmp_path / "model.keras")
    data = ["--dataset", "folder", "--data-dir", str(folder), "--num-classes", str(CLASSES)]
    data += ["--label-offset", "1"]
    command = ["evaluate", "--model", str(tmp_path / "model.keras"), *data]
    command += ["--short-edges", "24", "40", "--max-size", "64", "--flip"]
    command += ["--crop-size", "24", "24", "--stride", "8", "16"]
    command += ["--json", str(tmp_path / "scores.json"), "--chart", str(tmp_path / "iou.png")]
    command += ["--save-predictions", str(tmp_path / "predicted")]
    assert cli.main(command) == 0
    dataset = load_dataset("folder", "validation", folder, num_classes=CLASSES, label_offset=1)
    expected = pdanet_tf.evaluate(model, dataset, PROTOCOLS["everything"], progress=False)
    assert json.loads((tmp_path / "scores.json").read_text()) == expected.to_dict()
    with Image.open(tmp_path / "iou.png") as chart:
        assert chart.format == "PNG"
    assert cli.main(command) == 1
    assert "already holds files" in capsys.readouterr().err
    assert cli.main([*command, "--resume", "--precision", "mixed_bfloat16"]) == 1
    assert "their precision is 'float32'" in capsys.readouterr().err
    assert cli.main([*command, "--resume"]) == 0
    stored = ["evaluate", "--predictions", str(tmp_path / "predicted"), *data]
    assert cli.main([*stored, "--flip"]) == 1
    assert "require --model" in capsys.readouterr().err
    assert cli.main(stored) == 0
