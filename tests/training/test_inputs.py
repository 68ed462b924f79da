"""Data, augmentations and callbacks of one's own in `train` and `resume`."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from pdanet_tf import cli, train
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data import Classes, DataError, SegmentationDataset
from pdanet_tf.data.checked import CheckedDataset
from pdanet_tf.data.class_frequencies import count_classes
from pdanet_tf.training import TrainConfig, TrainingInterrupted, resume
from pdanet_tf.training.inputs import Inputs
from pdanet_tf.training.progress import Progress
from tests.support.tiny_training import runs_build

NAMES = ("dark", "grey", "bright")


@pytest.fixture(scope="module", autouse=True)
def _tiny_models():
    with runs_build():
        yield


class Shades(SegmentationDataset):
    """Drawn images; `broken` is the index of one that cannot be read."""

    def __init__(self, prefix, count=4, names=NAMES, broken=None):
        super().__init__(Classes.named(names))
        self.prefix = prefix
        self.count = count
        self.broken = broken

    def __len__(self):
        return self.count

    def name(self, index):
        return f"{self.prefix} {index}"

    def read(self, index):
        if index == self.broken:
            raise KeyError("mask")
        label = np.random.default_rng(index).integers(0, 3, (4, 5)).repeat(8, 0).repeat(8, 1)
        image = np.repeat(80 * label[..., None] + 20, 3, 2).astype("uint8")
        return image, label.astype("int32")

    def check(self):
        pass


def splits(**options):
    return {
        "train_data": Shades("train", **options),
        "validation_data": Shades("validation", count=2),
    }


@pytest.fixture
def config(tmp_path):
    def make(**options):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "model": "fcn_resnet18",
            "epochs": 2,
            "steps_per_epoch": 2,
            "batch_size": 2,
            "crop_size": (16, 24),
        }
        return TrainConfig(**{**defaults, **options})

    return make


def noisy(image, label, rng):
    noise = rng.integers(0, 20, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype("uint8"), label


class StopAfterFirst(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def weights(config):
    return keras.saving.load_model(f"{config.output_dir}/last.keras", compile=False).get_weights()


def test_a_run_on_data_of_ones_own_resumes_to_the_same_weights(config, tmp_path):
    whole = config(output_dir=str(tmp_path / "whole"), rotation=20, blur=1, downscale=2)
    result = train(whole, verbose=0, **splits(), augment=noisy)
    assert set(result.evaluation.to_dict()["iou_per_class"]) == set(NAMES)
    assert result.summary["config"]["dataset"] == "own data"
    assert result.summary["augment"].endswith("test_inputs.noisy")
    recorded = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (recorded["dataset"], recorded["data_dir"]) == ("own data", None)

    broken = config(rotation=20, blur=1, downscale=2)
    with pytest.raises(TrainingInterrupted) as interrupt:
        train(broken, 0, [StopAfterFirst()], **splits(), augment=noisy)
    given = "train_data=..., validation_data=..., augment=..., callbacks=..."
    call = f"resume('{tmp_path / 'run'}', {given})"
    assert call in str(interrupt.value)
    assert "pdanet-tf train" not in str(interrupt.value)
    resume(broken.output_dir, 0, **splits(), augment=noisy)
    for ours, theirs in zip(weights(broken), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = config(output_dir=str(tmp_path / "other"), rotation=20, blur=1, downscale=2)
    train(other, verbose=0, **splits())
    assert any((a != b).any() for a, b in zip(weights(other), weights(whole), strict=True))


def test_what_a_resumed_run_must_have(config, tmp_path, capsys):
    run = tmp_path / "run"
    train(config(), verbose=0, **splits(), augment=noisy)
    before = {path.name: path.read_bytes() for path in run.glob("*.*")}
    with pytest.raises(ValueError, match=r"was started with data of your own.*train_data=\.\.\."):
        resume(run)
    with pytest.raises(ValueError, match=r"started with a function `augment`, .*noisy"):
        resume(run, **splits())
    with pytest.raises(ValueError, match="started on other data: there were 4 training images"):
        resume(run, **splits(count=3), augment=noisy)
    other = {**splits(), "train_data": Shades("other")}
    with pytest.raises(ValueError, match="the names of the training images differ"):
        resume(run, **other, augment=noisy)
    command = ["train", "--output-dir", str(run)]
    assert cli.main([*command, "--resume"]) == 1
    assert "started with data of your own. Resume it in Python" in capsys.readouterr().err
    new = ["train", "--config", str(run / "config.json"), "--output-dir", str(tmp_path / "new")]
    assert cli.main(new) == 1
    assert "--dataset 'own data' is recorded for data" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert {path.name: path.read_bytes() for path in run.glob("*.*")} == before
    # The options of the run are good for another run on data of one's own.
    again = TrainConfig.load(run / "config.json")
    assert train(
        TrainConfig(**{**again.to_dict(), "output_dir": str(tmp_path / "again"), "epochs": 1}),
        verbose=0,
        **splits(),
    )


def test_a_run_on_a_named_data_set_stays_one(config, tmp_path):
    train(config(epochs=1, crop_size=(32, 32)), verbose=0)
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=r"started with dataset='synthetic'\. Leave train_data"):
        resume(run, **splits())
    with pytest.raises(ValueError, match="started without `augment`"):
        resume(run, epochs=2, augment=noisy)


@pytest.mark.parametrize(
    ("error", "arguments", "message"),
    [
        (ValueError, {"train_data": Shades("a")}, "given together.*Received: train_data alone"),
        (TypeError, {"train_data": "photos"}, "train_data must be an object .*builtins.str"),
        (TypeError, {"train_data": Shades}, "Received: the class Shades; create an object"),
        (
            ValueError,
            {"train_data": Shades("a"), "validation_data": Shades("b", names=NAMES[:2])},
            "the same classes in the same order. Received: 3, .*, and 2, ",
        ),
        (DataError, splits(count=0), "train_data must have at least one image"),
        (DataError, splits(broken=0), r"train 0: read\(0\) of train_data raised KeyError: 'mask'"),
        (TypeError, {"augment": 3}, "augment must be a function"),
        (DataError, {"augment": lambda image, label: label}, "train_0000: augment must return"),
        (TypeError, {"callbacks": [print]}, "callbacks must be objects of .*builtins.print"),
        (TypeError, {"callbacks": [keras.callbacks.CSVLogger]}, "the class CSVLogger; create"),
        (TypeError, {"callbacks": keras.callbacks.Callback()}, "must be a list"),
        (
            ValueError,
            {"callbacks": [keras.callbacks.ReduceLROnPlateau()]},
            "ReduceLROnPlateau sets the learning rate.*Received: schedule='poly'",
        ),
    ],
)
def test_wrong_arguments_leave_nothing_behind(error, arguments, message, config, tmp_path):
    with pytest.raises(error, match=message):
        train(config(), verbose=0, **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options", [{"dataset": "camvid"}, {"data_dir": "photos", "num_classes": 3}]
)
def test_options_of_a_data_set_that_is_not_used(options, config):
    named = ", ".join(f"{name}={value!r}" for name, value in options.items())
    with pytest.raises(ValueError, match=re.escape(f"Leave these options out: {named}")):
        train(config(**options), verbose=0, **splits())


def test_an_error_during_the_run_keeps_the_last_checkpoint(config, tmp_path):
    class Later(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            data.broken = 2

    data = Shades("train")
    given = {**splits(), "train_data": data}
    with pytest.raises(DataError, match=r"^train 2: read\(2\) of train_data raised Key") as found:
        train(config(epochs=9), 0, [Later()], **given)
    assert isinstance(found.value.__cause__, KeyError)  # with the traceback into the user's code
    assert 1 <= Progress.read(tmp_path / "run" / "last.keras").epochs < 9

    calls = []

    def fails_later(image, label):
        calls.append(1)
        if len(calls) > 36:  # batches are read ahead
            raise ZeroDivisionError("no light")
        return image, label

    run = config(output_dir=str(tmp_path / "second"), epochs=9, steps_per_epoch=8)
    with pytest.raises(DataError, match=r"^train \d: augment raised ZeroDivisionError: no light"):
        train(run, verbose=0, **splits(), augment=fails_later)
    assert Progress.read(tmp_path / "second" / "last.keras").epochs >= 1


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    sections = page.partition("## Data of your own in Python")[2].partition("## Callbacks")[0]
    found = re.findall(r"^```python\n(.*?)^```", sections, re.DOTALL | re.MULTILINE)
    assert len(found) == 2
    names = {}
    for block in found:
        exec(block, names)
    assert names["result"].evaluation.to_dict()["iou_per_class"].keys() == {"dark", "bright"}
    assert Path("runs/pdanet/summary.json").is_file()


def test_callbacks_of_keras(config, tmp_path):
    seen = []
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs)),
        keras.callbacks.EarlyStopping("val_mean_iou", patience=1, min_delta=2.0, mode="max"),
    ]
    result = train(config(epochs=5), 0, callbacks, **splits())
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(tmp_path / "run" / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    # No score is better by 2: training stops after the second epoch, and ends as a run does.
    assert len(rows) == len(history) == len(seen) == 2
    for name in ("loss", "val_mean_iou", "val_pixel_accuracy"):
        expected = [float(row[name]) for row in history]
        assert [float(row[name]) for row in rows] == pytest.approx(expected)
        assert [logs[name] for logs in seen] == pytest.approx(expected)
    best = max(float(row["val_mean_iou"]) for row in history)
    assert result.evaluation.scores.mean_iou == pytest.approx(best)
    assert (tmp_path / "run" / "summary.json").is_file()


def test_the_learning_rate_falls_on_a_plateau(config):
    plateau = keras.callbacks.ReduceLROnPlateau("val_mean_iou", 0.5, 1, mode="max", min_delta=2.0)
    rates = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(logs["learning_rate"])
    )
    run = config(epochs=3, schedule="constant", learning_rate=0.01)
    train(run, 0, [plateau, look], **splits())
    # The first epoch is the best so far; each of the others is one without a better score.
    optimizer = keras.saving.load_model(f"{run.output_dir}/last.keras").optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.005)  # as in the third epoch
    assert rates == pytest.approx([0.01, 0.01, 0.005])


class FourChannels(Shades):
    """The same with four channels of 16 bits; counts how often an image is read."""

    pixel_format = PixelFormat(4, "uint16")
    images_read = 0

    def read(self, index):
        self.images_read += 1
        image, label = super().read(index)
        return np.concatenate([image, image[..., :1]], axis=-1).astype("uint16"), label

    def read_label_map(self, index):
        return Shades.read(self, index)[1]

    def hash_annotation(self, index):
        return bytes([index])


def test_images_of_ones_own_with_other_channels_keep_their_colours(config):
    own = {"train_data": FourChannels("train"), "validation_data": FourChannels("validation")}
    configured = dataclasses.replace(config(), **Inputs(**own).configure(config()))
    assert configured.channels == 4
    assert configured.resolved().color_jitter == 0
    with pytest.raises(ValueError, match=r"train_data, 4\. Received: channels=5"):
        Inputs(**own).configure(config(channels=5))


def test_class_weights_of_ones_own_data_read_annotations_alone(tmp_path):
    data = FourChannels("train")
    data.void_label = -1
    checked = Inputs(train_data=data, validation_data=FourChannels("validation")).train_data
    frequencies = count_classes(checked, cache=tmp_path, show_progress=False)
    labels = np.stack([Shades.read(data, index)[1] for index in range(len(data))])
    np.testing.assert_array_equal(frequencies.pixels, np.bincount(labels.ravel()))
    assert data.images_read == 0
    assert len(list(tmp_path.iterdir())) == 1  # the cache


def test_values_that_are_not_finite_are_refused():
    class WithNaN(Shades):
        pixel_format = PixelFormat(3, "float32")

        def read(self, index):
            image, label = super().read(index)
            return np.where(image > 100, np.nan, image).astype("float32"), label

    with pytest.raises(DataError, match="must return finite values"):
        CheckedDataset(WithNaN("train"), "train_data").read(0)


def test_callbacks_are_a_list():
    with pytest.raises(TypeError, match=r"callbacks must be a list\. Received: generator"):
        Inputs(callbacks=(each for each in ()))
