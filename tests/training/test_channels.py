"""A run on images of four channels of 16 bits, from the files to the exported model."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data import load_dataset
from pdanet_tf.data.statistics import channel_statistics
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.training.batches import check_batches


def write_folder(root, splits=("train", "validation"), dtype="uint16"):
    rng = np.random.default_rng(0)
    for split in splits:
        for index in range(2):
            label = np.kron(rng.integers(0, 3, (4, 5)), np.ones((8, 8))).astype("uint8")
            label[0, :3] = 0, 1, 2
            levels = np.array([9000, 5000, 100, 20000]) / (1 if dtype == "uint16" else 256)
            image = label[..., None] * levels + rng.integers(0, 80, (32, 40, 4))
            for kind in ("images", "annotations"):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
            np.save(root / "images" / split / f"s{index}.npy", image.astype(dtype))
            Image.fromarray(label).save(root / "annotations" / split / f"s{index}.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


def config(folder, run, **options):
    return pdanet_tf.TrainConfig(
        **{
            "output_dir": run,
            "model": "fcn_resnet18",
            "dataset": "folder",
            "data_dir": folder,
            "num_classes": 3,
            "channels": 4,
            "crop_size": (32, 32),
            "batch_size": 2,
            "steps_per_epoch": 1,
            "epochs": 2,
            **options,
        }
    )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    pdanet_tf.train(config(folder, run), verbose=0)
    return run


def validation(folder, **options):
    options = {"num_classes": 3, "channels": 4, **options}
    return load_dataset("folder", "validation", folder, **options)


def test_the_statistics_are_measured_and_kept(run, folder):
    stored = json.loads((run / "config.json").read_text())
    train = load_dataset("folder", "train", folder, num_classes=3, channels=4)
    mean, std = channel_statistics(train)
    assert (stored["mean"], stored["std"]) == ([*mean], [*std])
    assert (stored["channels"], stored["color_jitter"]) == (4, 0.0)
    settings = InferenceSettings.load_for(run / "best.keras")
    assert settings.pixel_format == PixelFormat(4, "uint16")
    model = pdanet_tf.Predictor(run / "best.keras").model
    normalization = model.get_layer("normalization")
    assert (normalization.mean, normalization.std) == (mean, std)


def test_evaluation_and_prediction(run, folder):
    dataset = validation(folder)
    evaluation = pdanet_tf.evaluate(run / "best.keras", dataset, progress=False)
    summary = json.loads((run / "summary.json").read_text())
    assert evaluation.to_dict() == summary["validation"]
    predictor = pdanet_tf.Predictor(run / "best.keras")
    file, (image, _) = folder / "images" / "validation" / "s0.npy", dataset.read(0)
    prediction = predictor.predict(file)
    assert prediction.image.shape == (32, 40, 4)
    np.testing.assert_array_equal(prediction.label_map, predictor.predict(image).label_map)
    windows = pdanet_tf.Protocol(short_edges=(24,), crop_size=(24, 24))
    predictor.protocol = windows
    probabilities = predictor.probabilities(image)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    overlay = np.asarray(prediction.overlay_of([3, 1, 0]))
    assert overlay.shape[0] >= 32
    for bad, message in (
        (image.astype("uint8"), r"\(height, width, 4\) and dtype uint16.*dtype=uint8"),
        (image[..., :3], r"shape=\(32, 40, 3\)"),
        (folder / "annotations" / "validation" / "s0.png", "has 1 channel; expected 4"),
        (Image.new("RGB", (40, 32)), "has 3 channels; expected 4"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.predict(bad)


def test_the_export_takes_arrays(run, folder, tmp_path):
    protocol = pdanet_tf.Protocol(short_edges=(24,))
    pdanet_tf.export_saved_model(run / "best.keras", tmp_path / "1", protocol)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    image, _ = validation(folder).read(0)
    images = tf.constant(np.stack([image, image[::-1]]), tf.float32)
    label_maps = served(images=images)["label_maps"].numpy()
    assert (label_maps.shape, label_maps.dtype) == ((2, 32, 40), np.int32)
    predictor = pdanet_tf.Predictor(run / "best.keras", protocol)
    for found, each in zip(label_maps, (image, image[::-1]), strict=True):
        assert np.mean(found == predictor.label_map(np.ascontiguousarray(each))) > 0.999


def test_other_images_than_those_of_the_model(run, make_folder, tmp_path):
    rgb = load_dataset("folder", "validation", make_folder(), num_classes=3)
    with pytest.raises(ValueError, match=r"4 channels of type uint16, .*3 channels.*channels=4"):
        pdanet_tf.evaluate(run / "best.keras", rgb, progress=False)
    eight = write_folder(tmp_path, dtype="uint8")
    with pytest.raises(ValueError, match=r"type uint16, the data set has .* type uint8"):
        pdanet_tf.evaluate(run / "best.keras", validation(eight), progress=False)
    write_folder(tmp_path, ["train"])
    with pytest.raises(ValueError, match="training images have 4 channels of type uint16, the val"):
        pdanet_tf.train(config(eight, tmp_path / "run"), verbose=0)
    assert not (tmp_path / "run" / "config.json").exists()
    with pytest.raises(ValueError, match=r"CRF compares colours.*4 channels of type uint16"):
        pdanet_tf.Predictor(run / "best.keras", crf=CRFParameters())


def test_a_resumed_run_keeps_the_statistics(run, folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    pdanet_tf.training.resume(copy, verbose=0)
    former, stored = (json.loads((each / "config.json").read_text()) for each in (run, copy))
    assert (stored["mean"], stored["std"]) == (former["mean"], former["std"])
    with pytest.raises(ValueError, match=r"was started with mean=\(.*not mean=\(1\.0, "):
        pdanet_tf.training.resume(copy, verbose=0, channels=4, mean=(1, 2, 3, 4))


def test_the_commands(run, folder, tmp_path, capsys):
    data = ["--dataset", "folder", "--data-dir", str(folder), "--num-classes", "3"]
    model = ["--model", str(run / "best.keras")]
    assert cli.main(["validate-data", *data, "--channels", "4"]) == 0
    assert cli.main(["validate-data", *data, "--channels", "2"]) == 1
    assert "the image has 4 channels; expected 2" in capsys.readouterr().out
    assert cli.main(["evaluate", *model, *data]) == 1
    assert "Set channels, the number" in capsys.readouterr().err
    images = str(folder / "images" / "validation")
    output = ["--output", str(tmp_path)]
    shown = ["--overlay-channels", "3", "1", "0"]
    assert cli.main(["predict", images, *model, *output, *shown]) == 0
    assert (tmp_path / "s0_labels.png").exists()
    assert cli.main(["predict", images, *model, *output, "--overlay-channels", "4"]) == 1
    assert "from 0 to 3. Received: (4,)" in capsys.readouterr().err


def test_settings_of_another_number_of_channels(run, tmp_path):
    shutil.copy(run / "best.keras", tmp_path)
    settings = InferenceSettings.load_for(run / "best.keras")
    dataclasses.replace(settings, pixel_format=PixelFormat(5, "uint16")).save(tmp_path)
    with pytest.raises(ValueError, match=r"inference\.json: expected the 4 channels .*found 5"):
        pdanet_tf.Predictor(tmp_path / "best.keras")


def test_the_memory_of_all_channels_is_counted(folder):
    dataset = validation(folder)
    large = config(folder, "run", crop_size=(65536, 65536), batch_size=8).resolved()
    with pytest.raises(ValueError, match="takes 512 GiB"):
        check_batches(large, dataset)
