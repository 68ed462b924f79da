"""Runs that start from other models, with frozen parts and options of the head."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli, train
from pdanet_tf.training import TrainConfig, resume
from pdanet_tf.training.fine_tuning import describe_fine_tuning
from pdanet_tf.training.run_folder import RunFolder, check_same_run
from tests.support import tiny_family
from tests.support.folders import write_folder


@pytest.fixture(autouse=True)
def _families(restored_registry):
    tiny_family.register()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "dataset", highest=1)


@pytest.fixture
def config(data, tmp_path):
    def make(**options):
        return TrainConfig(
            **{
                "output_dir": str(tmp_path / "run"),
                "model": "tiny_small",
                "dataset": "folder",
                "data_dir": str(data),
                "num_classes": 2,
                "epochs": 2,
                "steps_per_epoch": 2,
                "batch_size": 2,
                "crop_size": (16, 24),
                **options,
            }
        )

    return make


def random_model(name, **options):
    """Builds a model with random values in all variables, variances among them."""
    model = pdanet_tf.build_model(name, **{"num_classes": 5, **options})
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture
def five(tmp_path):
    """A file of a model of five classes."""
    random_model("tiny_small").save(tmp_path / "five.keras")
    return tmp_path / "five.keras"


def arrays(path):
    model = keras.saving.load_model(path, compile=False)
    return {weight.path: weight.numpy() for weight in model.weights}


class StoppedError(Exception):
    pass


def stop(epoch, logs):
    raise StoppedError


def train_in_two_parts(config):
    """Trains as `train` does, but the process stops after the first epoch."""
    with pytest.raises(StoppedError):
        train(config, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)])
    return resume(config.output_dir, verbose=0)


def assert_frozen(before, after, frozen):
    for path, array in after.items():
        same = np.array_equal(array, before.get(path))
        assert same == path.startswith(frozen), path


def test_frozen_stages_keep_weights_and_statistics_also_when_resumed(config, five, tmp_path):
    options = {"weights": str(five), "freeze": ("C1", "C2")}
    whole = train(config(**options, output_dir=str(tmp_path / "whole")), verbose=0)
    parts = train_in_two_parts(config(**options))
    assert whole.summary["weights"] == parts.summary["weights"]
    for name in ("last.keras", "best.keras"):
        expected, found = (arrays(tmp_path / run / name) for run in ("whole", "run"))
        assert_frozen(arrays(five), found, ("block1", "block2"))
        for path, array in expected.items():
            np.testing.assert_allclose(found[path], array, rtol=1e-5, err_msg=path)
    best = keras.saving.load_model(tmp_path / "run" / "best.keras", compile=False)
    assert best.get_layer("small").get_layer("block1_conv1").trainable  # for further fine-tuning


def test_a_frozen_backbone_in_half_precision(config, five, tmp_path):
    train_in_two_parts(
        config(weights=str(five), freeze="backbone", precision="mixed_float16", momentum=0.0)
    )
    assert_frozen(arrays(five), arrays(tmp_path / "run" / "best.keras"), "block")


def test_the_description_and_the_summary_say_what_was_loaded_and_is_trained(
    config, five, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    summary = train(config(weights=five.name, freeze="stem", epochs=1), verbose=2).summary
    lines = capsys.readouterr().out.splitlines()
    assert lines[7:9] == [
        "Weights: loaded from five.keras (tiny_small, 5 classes), except classifier, which keeps "
        "its initial values (2 classes)",
        "Frozen: stem; 2,090 of 2,270 parameters are trained",
    ]
    assert summary["weights"] == lines[7].removeprefix("Weights: ")
    # The path is absolute, so that the run can be resumed and copied from anywhere.
    assert summary["config"]["weights"] == str(five)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["weights"] == str(five)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume(tmp_path / "run", epochs=2, weights="../five.keras", verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[7] == "Frozen: stem; 2,090 of 2,270 parameters are trained"
    with pytest.raises(ValueError, match=r"weights='.*/elsewhere/five\.keras'"):
        resume(tmp_path / "run", epochs=2, weights="five.keras", verbose=0)


def test_frozen_parts_without_trained_weights_are_noted(config):
    model = pdanet_tf.build_model("tiny_small", num_classes=2)
    lines = describe_fine_tuning(model, config(freeze="C1"), None)
    assert lines[1].startswith("Note: the frozen parts have random weights")
    assert describe_fine_tuning(model, config(), None) == []


def test_a_run_of_before_had_a_relative_file_of_weights(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = config(weights="five.keras")
    former = {"config": {**options.to_dict(), "crop_size": [16, 24]}, "data": {}}
    now = dataclasses.replace(options, weights=str(tmp_path / "five.keras"))
    for each in (options, now):
        check_same_run(RunFolder(tmp_path / "run"), former, each, {})
    with pytest.raises(ValueError, match="weights was "):
        check_same_run(RunFolder("run"), former, config(weights="six.keras"), {})


def test_options_of_the_head_reach_all_models_and_are_kept(config, tmp_path):
    options = {"filters": 6, "rate": 2, "dropout": 0.2}
    result = train_in_two_parts(config(head_options=options))
    for name in ("last.keras", "best.keras"):
        model = keras.saving.load_model(tmp_path / "run" / name, compile=False)
        conv = model.get_layer("head_conv")
        assert (conv.filters, conv.dilation_rate, model.get_layer("dropout").rate) == (6, 2, 0.2)
    assert result.summary["config"]["head_options"] == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weights": "deeper.keras"},
            r"deeper\.keras holds tiny_deeper, whose backbone does not fit: 'tiny_small' needs the "
            r"backbone small, but the file also has block1_conv2/conv/kernel",
        ),
        (
            {"weights": "five.keras", "strict": True},
            r"five\.keras do not fit .*: the checkpoint has 5 classes, the model 2: build it with "
            r"num_classes=5",
        ),
        ({"weights": "five.keras", "normalization": "caffe"}, "normalization='torch'"),
        ({"weights": "six.keras"}, r"no weights file at six\.keras"),
        (
            {"freeze": ("C1", "C6")},
            r"'tiny_small' has no part 'C6'\. Its parts are backbone, "
            r"stem, C1, C2, C3\.",
        ),
        (
            {"head_options": {"filter": 8}},
            r"tiny_small has no option 'filter' \(did you mean 'filters'\?\)\. Its options are "
            r"dropout, filters, rate",
        ),
        ({"head_options": {"aux_head": True}}, "no option 'aux_head'"),
        ({"head_options": {"filters": "many"}}, "filters must be an integer.*'many'"),
        ({"head_options": {"rate": 0}}, "rate.* at least 1"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    options, message, config, five, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if options.get("weights") == "deeper.keras":
        random_model("tiny_deeper").save("deeper.keras")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(config(**options), verbose=0)
    assert not (tmp_path / "run").exists()


def test_dropout_is_given_once(config):
    with pytest.raises(ValueError, match="dropout is given twice"):
        config(dropout=0.1, head_options={"dropout": 0.2})


def test_the_command_line(data, five, tmp_path, capsys):
    command = [
        "train",
        *("--model", "tiny_small", "--dataset", "folder", "--data-dir", str(data)),
        *("--num-classes", "2", "--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "2"),
        *("--crop-size", "16", "24", "--output-dir", str(tmp_path / "run")),
    ]
    assert cli.main([*command, "--head-options", "filter=8"]) == 1
    error = capsys.readouterr().err
    assert "did you mean 'filters'?" in error
    assert error.count("\n") == 1
    assert cli.main([*command, "--freeze", "C1", "C4"]) == 1
    assert "Its parts are backbone, stem, C1, C2, C3" in capsys.readouterr().err
    assert cli.main([*command, "--weights", str(five), "--strict"]) == 1
    assert "build it with --num-classes 5" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    tuning = ["--weights", str(five), "--freeze", "C1", "C2", "--head-options", "filters=4"]
    assert cli.main([*command, *tuning]) == 0
    told = capsys.readouterr().out
    assert "except head_conv and classifier, which keep their initial values" in told
    assert "Frozen: C1, C2; " in told
