import csv
import json
import math
import re

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli, train
from pdanet_tf.data import Classes, DataError, FolderDataset
from pdanet_tf.data.batches.pipeline import paper_batches
from pdanet_tf.data.sources.synthetic import SyntheticDataset
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.optimizers import SGD
from pdanet_tf.training import NonFiniteLossError, TrainConfig
from pdanet_tf.training.announce import describe_run
from pdanet_tf.training.callbacks import StopOnNonFinite
from pdanet_tf.training.curves import make_charts
from pdanet_tf.training.model import compiled_model, inference_model
from pdanet_tf.training.progress import Progress


@pytest.fixture
def config(make_folder, tmp_path):
    """A run of a few seconds."""

    def make(**options):
        root = tmp_path / "dataset"
        paper = {"short_edges": (16, 24), "short_edge": 24}
        of_recipe = paper if options.get("recipe") == "paper" else {"crop_size": (16, 24)}
        return TrainConfig(
            **{
                "output_dir": str(tmp_path / "run"),
                "model": "fcn_resnet18",
                "dataset": "folder",
                "data_dir": str(root if root.exists() else make_folder()),
                "num_classes": 3,
                "epochs": 2,
                "steps_per_epoch": 3,
                "batch_size": 2,
                **of_recipe,
                **options,
            }
        )

    return make


def history(config):
    with open(f"{config.output_dir}/history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_checkpoints_logs_and_a_summary(config, tmp_path):
    config = config(class_names=("one", "two", "three"), aux_head=True, precision="mixed_bfloat16")
    result = train(config, verbose=0)
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        "best.keras",
        "config.json",
        "curves.png",
        "history.csv",
        "inference.json",
        "last-1.keras",
        "last.keras",
        "logs",
        "summary.json",
    ]
    assert list((run / "logs").rglob("events.out.*"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["config"]["crop_size"] == [16, 24]
    assert (summary["seed"], summary["steps_before"]) == (0, 0)
    assert summary["versions"]["keras"] == keras.__version__
    assert set(summary["validation"]["iou_per_class"]) == {"one", "two", "three"}
    rows = history(config)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([1e-2 * 0.5**0.9, 0])  # after steps 3 and 6 of 6
    titles = [chart.title for chart in make_charts(Progress.read(run / "last.keras").history)]
    assert titles == ["Training loss", "Mean IoU", "Learning rate"]
    best = max(float(row["val_mean_iou"]) for row in rows)
    # The best model is kept in float32, but was scored in bfloat16.
    assert result.evaluation.scores.mean_iou == pytest.approx(best, abs=0.02)
    model = keras.saving.load_model(result.best)
    assert model.compute_dtype == "float32"
    assert model(np.zeros((1, 17, 9, 3))).shape == (1, 17, 9, 3)


@pytest.mark.slow
def test_the_optimizer_is_the_references_and_the_rate_falls_to_zero(config):
    config = config(learning_rate=0.5, power=0.9, weight_decay=0.25)
    train(config, verbose=0)
    optimizer = keras.saving.load_model(f"{config.output_dir}/last.keras").optimizer
    assert int(optimizer.iterations) == 6
    assert optimizer.get_config()["weight_decay"] == 0.25
    schedule = optimizer.get_config()["learning_rate"]
    schedule = keras.optimizers.schedules.deserialize(schedule)
    assert float(schedule(0)) == 0.5
    assert float(schedule(3)) == pytest.approx(0.5 * 0.5**0.9)
    assert float(schedule(6)) == 0


@pytest.mark.slow
def test_a_resumed_run_ends_as_an_uninterrupted_one(config, tmp_path):
    options = {"recipe": "paper", "epochs": 3, "learning_rate": 1e-3, "dropout": 0.1}
    whole = config(output_dir=str(tmp_path / "whole"), **options)
    train(whole, verbose=0)

    class InterruptedError(Exception):
        pass

    broken = config(output_dir=str(tmp_path / "broken"), **options)
    with pytest.MonkeyPatch.context() as patch:
        former = StopOnNonFinite.on_epoch_begin

        def interrupt(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError
            former(self, epoch, logs)

        patch.setattr(StopOnNonFinite, "on_epoch_begin", interrupt)
        with pytest.raises(InterruptedError):
            train(broken, verbose=0)
    with pytest.raises(ValueError, match=r"seed=0, not seed=1\. It was interrupted, and these"):
        train(TrainConfig(**{**broken.to_dict(), "seed": 1}), verbose=0)
    resumed = TrainConfig(**{**broken.to_dict(), "resume": True})
    train(resumed, verbose=0)
    assert [row["epoch"] for row in history(resumed)] == ["0", "1", "2"]
    losses = [[float(row["loss"]) for row in history(run)] for run in (whole, resumed)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    weights = [
        keras.saving.load_model(f"{run.output_dir}/last.keras").get_weights()
        for run in (whole, resumed)
    ]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow  # CPUs are slow in float16
def test_float16_scales_its_loss_also_when_resumed(config):
    config = config(precision="mixed_float16", epochs=1, crop_size=(16, 16))
    train(config, verbose=0)
    optimizer = keras.saving.load_model(f"{config.output_dir}/last.keras").optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert optimizer.inner_optimizer.get_config()["weight_decay"] == config.weight_decay
    # The run is whole: there is nothing left to train.
    before = history(config)
    train(TrainConfig(**{**config.to_dict(), "resume": True}), verbose=0)
    assert history(config) == before


@pytest.mark.slow
def test_weights_that_are_not_finite_are_not_saved(config, tmp_path):
    config = config(epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        former = StopOnNonFinite.on_epoch_end

        def spoil(self, epoch, logs=None):
            if epoch == 1:
                weight = self.model.weights[5]
                weight.assign(np.full(weight.shape, np.inf))
            former(self, epoch, logs)

        patch.setattr(StopOnNonFinite, "on_epoch_end", spoil)
        with pytest.raises(NonFiniteLossError, match="not finite after epoch 2"):
            train(config, verbose=0)
    assert Progress.read(tmp_path / "run" / "last.keras").epochs == 1
    assert len(history(config)) == 1


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_a_checkpoint(config, tmp_path):
    config = config(learning_rate=1e30)
    with pytest.raises(NonFiniteLossError, match=r"step [23] of epoch 1.*last\.keras"):
        train(config, verbose=0)
    left = keras.saving.load_model(tmp_path / "run" / "last.keras")
    assert all(np.isfinite(weight).all() for weight in left.get_weights())
    assert not (tmp_path / "run" / "summary.json").exists()


def test_whole_images_of_changing_shape_train_two_devices(make_folder, two_replicas):
    dataset = FolderDataset(make_folder(count=4), "train", Classes.numbered(3))
    batches = paper_batches(dataset, 4, short_edges=(16, 40))
    assert len({images.shape for images, _ in batches.take(6)}) > 1
    with two_replicas.scope():
        logits = keras.layers.Conv2D(3, 8, strides=8)
        model = keras.Sequential([keras.Input((None, None, 3)), logits])
        model.compile(SGD(1e-6), SegmentationCrossEntropy(255), jit_compile=False)
    before = logits.kernel.numpy()
    history = model.fit(batches, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0).history
    assert all(math.isfinite(loss) for loss in history["loss"])
    assert (logits.kernel.numpy() != before).any()


def test_the_papers_recipe_by_default():
    config = TrainConfig(recipe="paper", dataset="ade20k").resolved()
    assert (config.epochs, config.steps_per_epoch, config.batch_size) == (20, 5000, 8)
    assert (config.learning_rate, config.power) == (1e-2, 0.9)
    assert (config.momentum, config.nesterov, config.weight_decay) == (0.9, False, 1e-4)
    assert (config.short_edges, config.max_size) == ((300, 375, 450, 525, 600), 1000)
    assert config.flip
    assert config.short_edge == 450  # in validation
    assert config.crop_size is config.scale_range is config.color_jitter is None
    assert config.resolved() == config
    given = TrainConfig(recipe="paper", short_edges=(64,), short_edge=96, steps_per_epoch=7)
    assert given.resolved() == given


def test_the_modern_recipe_by_default():
    config = TrainConfig(dataset="camvid").resolved()
    assert config.recipe == "crop"
    assert (config.crop_size, config.scale_range) == ((512, 512), (0.5, 2.0))
    assert config.color_jitter == 0.4
    assert config.short_edges is config.short_edge is config.steps_per_epoch is None
    assert TrainConfig(dataset="synthetic").resolved().crop_size == (96, 128)
    assert TrainConfig(dataset="synthetic", crop_size=(8, 8)).resolved().crop_size == (8, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": "modern"},
        {"recipe": "paper", "crop_size": (16, 24)},
        {"recipe": "paper", "scale_range": (0.5, 2.0)},
        {"recipe": "paper", "color_jitter": 0.0},
        {"recipe": "crop", "short_edges": (300,)},
    ],
)
def test_options_that_do_not_go_with_the_recipe(wrong):
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=re.escape(f"Received: {name}={value!r}")):
        TrainConfig(**wrong)


def test_options_of_the_backbone_reach_the_model(config, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        "pdanet_tf.models.build.load_imagenet_weights",
        lambda backbone, source: loaded.append(source.name),
    )
    data = SyntheticDataset("train")
    options = config(backbone_weights="imagenet", output_stride=16)
    model = inference_model(options, data.num_classes, compiled_model(options, data, 1))
    # Once, at the start; the model for use has the stem that these weights brought.
    assert loaded == ["resnet_18_imagenet"]
    backbone = model.get_layer("resnet18")
    assert not any("stem_conv3" in layer.name for layer in backbone.layers)
    assert backbone.compute_output_shape((1, 64, 64, 3))["C5"] == (1, 4, 4, 512)
    deep = compiled_model(config(backbone_weights="imagenet", stem="deep"), data, 1)
    assert any("stem_conv3" in layer.name for layer in deep.get_layer("resnet18").layers)


def test_bad_data_found_while_training_raise_a_data_error(config, monkeypatch, tmp_path):
    monkeypatch.setattr(FolderDataset, "check", lambda self: None)
    config = config()
    for path in (tmp_path / "dataset" / "images" / "train").iterdir():
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"scene_\d\.jpg: "):
        train(config, verbose=0)


def test_bad_data_is_found_before_anything_is_written(config, tmp_path):
    with pytest.raises(DataError, match="num_classes=2"):
        train(config(num_classes=2), verbose=0)
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        train(config(resume=True), verbose=0)
    with pytest.raises(ValueError, match="pdanet_resnet18"):
        train(config(model="pdanet"), verbose=0)
    with pytest.raises(ValueError, match="crop_size"):
        train(config(crop_size=(0, 24)), verbose=0)
    with pytest.raises(ValueError, match="stem='deep' with model='fcn8s_vgg16'"):
        train(config(model="fcn8s_vgg16", stem="deep"), verbose=0)
    with pytest.raises(ValueError, match="scale_range"):
        train(config(scale_range=(2.0, 1.0)), verbose=0)
    with pytest.raises(ValueError, match="short_edges"):
        train(config(recipe="paper", short_edges=(16, 0)), verbose=0)
    with pytest.raises(ValueError, match="at least 2 images"):
        train(config(model="pdanet_resnet18", batch_size=1), verbose=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"precision": "bfloat16"},
        {"num_classes": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"momentum": 1.5},
        {"momentum": -0.5},
        {"output_stride": 4},
        {"color_jitter": 1.5},
        {"scale_range": (0.0, 1.0)},
        {"scale_range": (2.0, 0.5)},
        {"crop_size": (0, 16)},
        {"class_names": ("cat", "dog", "cat")},
        {"ignore_label": -1},
        {"ignore_label": (11, 11)},
        {"label_offset": -1},
    ],
)
def test_values_out_of_range(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=re.escape(f"Received: {name}={value!r}")):
        TrainConfig(**wrong)


def test_what_is_wrong_with_a_range_and_with_names_is_said():
    with pytest.raises(ValueError, match="scale_range must be in the order lowest, highest"):
        TrainConfig(scale_range=(2.0, 0.5))
    with pytest.raises(ValueError, match=r"class_names must differ\. More than once: 'cat'"):
        TrainConfig(class_names=("cat", "dog", "cat"))
    TrainConfig(dropout=0.0, momentum=1.0, color_jitter=1.0, scale_range=(1, 1), output_stride=32)


def test_the_command_line_from_training_to_export(config, tmp_path, capsys):
    options = config()
    data = ["--dataset", "folder", "--data-dir", options.data_dir, "--num-classes", "3"]
    run = ["train", *data, "--output-dir", options.output_dir, "--model", options.model]
    run += ["--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "2"]
    assert cli.main([*run, "--crop-size", "16", "24"]) == 0
    best = f"{options.output_dir}/best.keras"
    assert cli.main([*run, "--crop-size", "16", "24"]) == 1
    assert "already holds a run" in capsys.readouterr().err

    scores = tmp_path / "scores.json"
    assert cli.main(["evaluate", "--model", best, *data, "--json", str(scores)]) == 0
    assert json.loads(scores.read_text())["images"] == 3
    assert "class 2" in capsys.readouterr().out

    photo = f"{options.data_dir}/images/train/scene_0.jpg"
    output = tmp_path / "predictions"
    assert cli.main(["predict", photo, "--model", best, "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "manifest.jsonl",
        "scene_0_labels.png",
        "scene_0_overlay.png",
    ]
    namesake = photo.replace("train", "validation")
    assert cli.main(["predict", photo, namesake, "--model", best]) == 1
    assert "same name" in capsys.readouterr().err
    short = ["--model", best, "--max-size", "0"]
    assert cli.main(["predict", photo, *short]) == 1
    assert "--max-size 0" in capsys.readouterr().err
    garbage = tmp_path / "garbage.keras"
    garbage.write_text("garbage")
    assert cli.main(["predict", photo, "--model", str(garbage)]) == 1
    assert "garbage.keras" in capsys.readouterr().err

    stored = ["--predictions", f"{options.data_dir}/annotations/validation"]
    assert cli.main(["evaluate", *stored, *data]) == 0
    assert "1.0000" in capsys.readouterr().out

    export = ["export", "--model", best, "--output", str(tmp_path / "served" / "roads")]
    assert cli.main(export) == 0
    assert (tmp_path / "served" / "roads" / "1" / "saved_model.pb").is_file()
    assert '  name: "roads"' in (tmp_path / "served" / "models.config").read_text()
    assert "docker run --rm -p 8500:8500 -p 8501:8501 -v" in capsys.readouterr().out
    assert cli.main([*export, "--max-pixels", "0"]) == 1
    assert "--max-pixels must be from 1 to 2,147,483,647" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "served" / "roads").iterdir()] == ["1"]

    assert cli.main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in pdanet_tf.list_models())


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "export", "convert", "models"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"pdanet-tf {command}" in capsys.readouterr().out


def test_output_of_a_run_into_a_file(config, tmp_path, capsys):
    """Without a terminal: six lines, one per epoch, no control characters."""
    found = []

    def look(epoch, logs):  # a callback of the user's finds the epoch's files written
        found.append((Progress.read(tmp_path / "run" / "last.keras").epochs, logs["val_mean_iou"]))

    look = keras.callbacks.LambdaCallback(on_epoch_end=look)
    train(config(class_names=("one", "two", "three")), callbacks=[look])
    scores = [float(row["val_mean_iou"]) for row in history(config())]
    assert found == [(1, pytest.approx(scores[0])), (2, pytest.approx(scores[1]))]
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert told.err == ""
    assert lines[0] == (
        "Data: folder, 3 classes; train 3 images, 24 x 32; validation 3 images, 24 x 32 "
        "(height x width)"
    )
    assert lines[1] == "Model: fcn_resnet18, 11,925,827 parameters"
    assert re.fullmatch(r"Devices: CPU:0 \(\d+ cores, .*\); precision float32", lines[2])
    assert lines[3] == "Steps: 3 per epoch, 2 epochs, 2 images each as crops of 16 x 24"
    assert lines[4] == "Loss: ce at the size of the logits"
    assert lines[5] == "Optimizer: sgd; learning rate 0.01, poly"
    assert lines[6].startswith(f"Results: {tmp_path / 'run'} (best.keras, ")
    number = r"\d\.\d{4}"
    for epoch, line in enumerate(lines[7:9], 1):
        assert re.fullmatch(
            rf"Epoch {epoch}/2: loss {number}, mean IoU {number}, "
            rf"validation mean IoU {number}, \d+ s",
            line,
        )
    best = 1 + int(np.argmax(scores))
    assert lines[9:] == [f"Scoring the best model, that of epoch {best}, on the validation images"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", told.out)


def test_a_slow_precision_is_reported_before_training(config, monkeypatch):
    monkeypatch.setattr("pdanet_tf.base.processor.processor_flags", lambda: frozenset({"avx2"}))
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    data = SyntheticDataset("train")

    def describe(device):
        options = config(precision="mixed_bfloat16").resolved()
        return describe_run(
            options, {"train": data}, model, [device], Progress({}, epochs=1), False
        )

    lines = describe("/job:localhost/replica:0/task:0/device:CPU:0")
    assert "AVX2, without bfloat16" in lines[2]
    assert lines[3].startswith("Steps: 3 per epoch, epochs 2 to 2, ")
    assert "eleven times slower" in lines[7]
    assert len(describe("/device:GPU:0")) == 7


@pytest.mark.slow
def test_bars_on_a_terminal_leave_only_lines(config, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what it writes to for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    train(config(epochs=1))
    told = capsys.readouterr()
    assert "Epoch 1/1" in told.err
    assert "Evaluating" in told.err
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", told.err)  # no colours
    assert told.out.count("\n") == 9
