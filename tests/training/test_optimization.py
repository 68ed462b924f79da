"""The optimizers, schedules, averages and early stopping of a run, and how they are resumed."""

import csv
import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from pdanet_tf import build_model, train
from pdanet_tf.data.sources.synthetic import SyntheticDataset
from pdanet_tf.optimizers import SGD, Adam, AdamW
from pdanet_tf.training import TrainConfig, resume
from pdanet_tf.training.announce import describe_run
from pdanet_tf.training.callbacks import MONITOR, Validation
from pdanet_tf.training.checkpoints import Checkpoints
from pdanet_tf.training.optimization import (
    averaged_weights,
    check_steps,
    learning_rate_schedule,
    make_optimizer,
)
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.run_folder import RunFolder
from tests.support.folders import write_folder
from tests.support.tiny_training import runs_build, tiny_config

STEPS = 2
make_config = functools.partial(tiny_config, epochs=3, steps_per_epoch=STEPS)
EVERYTHING = {
    "schedule": "cosine",
    "warmup_steps": 2,
    "backbone_lr": 0.5,
    "clip_norm": 0.1,
    "accumulation_steps": 3,  # epochs of two steps end between two updates
    "ema": 0.5,
    "patience": 2,
}


def tiny_model(name, num_classes, upsample, **options):
    """A model with a backbone of two stages."""
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 8, strides=8, name="stem")(images)
    normalized = keras.layers.BatchNormalization(name="norm")(features)
    backbone = keras.Model(images, {"C1": features, "C5": normalized})
    pixels = keras.Input((None, None, 3))
    x = backbone(keras.layers.Rescaling(1 / 255)(pixels))["C5"]
    x = keras.layers.Conv2D(num_classes, 1, name="classifier")(x)
    return keras.Model(pixels, keras.layers.UpSampling2D(8)(x) if upsample else x)


@pytest.fixture(scope="module", autouse=True)
def _tiny_models():
    with runs_build(tiny_model):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture
def scores(monkeypatch):
    """Replaces the validation scores of the epochs."""

    def fix(*values):
        class FixedScores(Validation):
            def on_epoch_end(self, epoch, logs=None):
                super().on_epoch_end(epoch, logs)
                logs[MONITOR] = values[epoch]

        monkeypatch.setattr("pdanet_tf.training.session.Validation", FixedScores)

    return fix


def weights(file, compile=False):
    model = keras.saving.load_model(file, compile=compile)
    return [*model.weights, *(model.optimizer.variables if compile else ())]


def history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


class KilledError(BaseException):
    pass


class KillBefore(keras.callbacks.Callback):
    """Ends a run like a kill before an epoch, counted from 0."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KilledError


class BestIsAverage(keras.callbacks.Callback):
    """Checks that a resumed run begins with the averages of its weights in the best model."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_train_begin(self, logs=None):
        assert Progress.read(self.run / "best.keras").epochs == 2
        for expected, found in zip(
            averages_and_statistics(self.model), weights(self.run / "best.keras"), strict=True
        ):
            np.testing.assert_array_equal(expected, found)
        is_first = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == 1
        assert all(np.array_equal(*pair) for pair in averages_of(self.model)) == is_first


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "precision": "mixed_float16", "freeze": "stem", **EVERYTHING},
        {"optimizer": "adamw", "schedule": "constant", "warmup_steps": 5, "ema": 0.9},
    ],
    ids=lambda options: options["optimizer"],
)
def test_a_run_killed_before_its_best_model_was_written_ends_as_one_that_was_not(
    options, data, tmp_path, scores
):
    """The second epoch ends between two updates of an accumulation, and in the warm-up."""
    scores(0.1, 0.2, 0.1)
    train(make_config(data, tmp_path / "whole", **options), verbose=0)
    run = tmp_path / "killed"

    def kill(self):
        if self.progress.epochs == 2:
            raise KilledError
        save(self)

    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoints._save_best
        patch.setattr(Checkpoints, "_save_best", kill)
        with pytest.raises(KilledError):
            train(make_config(data, run, **options), verbose=0)
    resume(run, 0, [BestIsAverage(run)])
    for file, state in (("last.keras", True), ("best.keras", False)):
        ours, theirs = (weights(folder / file, state) for folder in (tmp_path / "whole", run))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=one.path)
    assert history(tmp_path / "whole") == history(run)
    iterations = keras.saving.load_model(run / "last.keras").optimizer.iterations
    assert int(iterations) == 6 // options.get("accumulation_steps", 1)


def averages_of(model):
    return getattr(model.optimizer, "inner_optimizer", model.optimizer).averages()


def averages_and_statistics(model):
    averages = {variable.path: average for variable, average in averages_of(model)}
    return [averages.get(weight.path, weight) for weight in model.weights]


def test_weights_come_back_also_after_an_error():
    model = tiny_model("", 3, False)
    model.compile(SGD(0.5, use_ema=True))
    model.optimizer.build(model.trainable_variables)
    with averaged_weights(model):  # before the first update there are no averages
        assert np.abs(model.weights[0]).max() > 0
    model.optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables])
    model.optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables])
    before = [weight.numpy().copy() for weight in model.weights]
    averages = [weight.numpy().copy() for weight in averages_and_statistics(model)]

    def fail():
        with averaged_weights(model):
            for expected, weight in zip(averages, model.weights, strict=True):
                np.testing.assert_array_equal(expected, weight)
            raise KilledError

    assert not np.array_equal(before[0], averages[0])
    with pytest.raises(KilledError):
        fail()
    for expected, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(expected, weight)


def test_validation_sees_the_averages(monkeypatch):
    model = tiny_model("", 3, False)
    model.compile(SGD(0.5, use_ema=True))
    for _ in range(2):
        model.optimizer.apply(
            [keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
        )
    expected = [weight.numpy().copy() for weight in averages_and_statistics(model)]
    seen = []

    def look(predictor, dataset, progress, **options):
        seen.extend(weight.numpy().copy() for weight in model.weights)
        return SimpleNamespace(scores=SimpleNamespace(mean_iou=0.5, pixel_accuracy=0.5))

    monkeypatch.setattr("pdanet_tf.training.callbacks.Predictor", lambda *_, **__: None)
    monkeypatch.setattr("pdanet_tf.training.callbacks.evaluate_predictor", look)
    validation = Validation(SimpleNamespace(pixel_format=None), None)
    validation.set_model(model)
    validation.on_epoch_end(0)
    for one, other in zip(expected, seen, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_states_cannot_be_added_to_a_run(data, tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_config(make_config(data, tmp_path, epochs=1))
    for option, former, value in (
        ("ema", None, 0.9),
        ("accumulation_steps", 1, 2),
        ("schedule", "poly", "cosine"),
        ("patience", None, 3),
    ):
        with pytest.raises(ValueError, match="was started with") as raised:
            folder.resumed_config({option: value})
        assert str(raised.value) == (
            f"The run in {tmp_path} was started with {option}={former!r}, not {option}={value!r}. "
            "Leave these options out to continue it, or choose another output_dir."
        )


def test_a_run_stops_without_progress_also_when_resumed(data, tmp_path, capsys, scores):
    scores(0.2, 0.3, 0.2, 0.3, 0.4)
    run = tmp_path / "run"
    config = make_config(data, run, epochs=5, patience=2)
    with pytest.raises(KilledError):
        train(config, 0, [KillBefore(3)])
    capsys.readouterr()
    resume(run, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert "stops after 2 epochs without a better score" in lines[5]
    assert lines[-3].startswith("Epoch 4/5: ")
    assert lines[-2:] == [
        "Stopped after epoch 4: the validation score of epoch 2 was not exceeded in 2 epochs.",
        "Scoring the best model, that of epoch 2, on the validation images",
    ]
    assert (run / "summary.json").is_file()
    resume(run, verbose=2, epochs=9)
    told = capsys.readouterr()
    assert (
        "The run has stopped early: the validation score of epoch 2 was not exceeded in 2 epochs."
        in told.err
    )
    # Nothing is trained.
    assert told.out == "Scoring the best model, that of epoch 2, on the validation images\n"
    assert TrainConfig.load(run / "config.json").epochs == 5
    assert Progress.read(run / "last.keras").epochs == len(history(run)) == 4


def test_a_resumed_run_keeps_a_rate_that_a_callback_has_set(data, tmp_path):
    run = tmp_path / "run"
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    config = make_config(data, run, schedule="constant", learning_rate=0.8)
    with pytest.raises(KilledError):
        train(config, 0, [halve, KillBefore(1)])
    resume(run, verbose=0)
    rates = [float(row["learning_rate"]) for row in history(run)]
    np.testing.assert_allclose(rates, [0.4, 0.4, 0.4])


def test_a_run_that_improves_in_time_goes_on():
    progress = Progress({"config": {}, "data": {}})
    stalls = []
    for score in (0.3, 0.2, 0.4, 0.4, float("nan")):
        progress = progress.after_epoch({"val_mean_iou": score})
        stalls.append(progress.has_stalled(2))
    assert stalls == [False, False, False, False, True]
    assert not progress.has_stalled(3)
    assert not progress.has_stalled(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"warmup_steps": 6},
            r"warmup_steps must be below the number of steps, 3 x 2 = 6\. Received: warmup_steps=6",
        ),
        (
            {"accumulation_steps": 7},
            r"at most the number of steps, 3 x 2 = 6, or the weights are never updated\. Received",
        ),
    ],
)
def test_too_few_steps(options, message, data, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(make_config(data, tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()
    check_steps(TrainConfig(epochs=3, warmup_steps=5, accumulation_steps=6), STEPS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone_lr": 0}, r"above 0; to leave the backbone as it is, use freeze='backbone'"),
        ({"momentum": 0.8, "optimizer": "adam"}, "momentum requires optimizer='sgd'"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov requires optimizer='sgd'"),
        ({"power": 2, "schedule": "cosine"}, "power requires schedule='poly'"),
        ({"optimizer": "adamm"}, r"optimizer must be .* \(did you mean 'adam'\?\)"),
    ],
)
def test_options_that_would_do_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_the_learning_rate_of_each_step():
    def rates(*steps, **options):
        config = TrainConfig(epochs=5, learning_rate=0.5, **options)
        schedule = learning_rate_schedule(config, 4)  # 20 steps
        return [float(schedule(step)) for step in steps]

    np.testing.assert_allclose(rates(0, 10, 20), [0.5, 0.5 * 0.5**0.9, 0])
    cosine = [0.5, 0.5 * (1 + np.cos(np.pi / 4)) / 2, 0.25, 0]
    np.testing.assert_allclose(rates(0, 5, 10, 20, schedule="cosine"), cosine, atol=1e-7)
    warm = {"warmup_steps": 4, "power": 1.0}
    np.testing.assert_allclose(rates(0, 1, 4, 12, 20, **warm), [0, 0.125, 0.5, 0.25, 0], atol=1e-7)
    warm = {"warmup_steps": 4, "schedule": "constant"}
    np.testing.assert_allclose(rates(0, 1, 4, 20, **warm), [0, 0.125, 0.5, 0.5])
    assert learning_rate_schedule(TrainConfig(schedule="constant"), 4) == 1e-2


def test_an_accumulated_update_has_the_rate_of_its_last_step():
    model = tiny_model("", 3, False)
    config = TrainConfig(epochs=2, accumulation_steps=3, momentum=0.0, weight_decay=0.0)
    optimizer = make_optimizer(config, model, 3)  # 6 steps, 2 updates
    ones = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    found = [0.0]
    for _ in range(6):
        before = model.trainable_variables[0].numpy().copy()
        optimizer.apply(ones, model.trainable_variables)
        found.append(float((before - model.trainable_variables[0].numpy()).mean()))
    expected = [0, 0, 0, *(1e-2 * (1 - step / 6) ** 0.9 * (step % 3 == 2) for step in (2, 3, 4, 5))]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"nesterov": True, "momentum": 0.8}, SGD),
        ({"optimizer": "adam", "clip_norm": 2.0, "decay_attention_scales": False}, Adam),
        ({"optimizer": "adamw", "accumulation_steps": 4, "ema": 0.999}, AdamW),
    ],
)
def test_the_options_reach_the_optimizer(options, expected):
    config = TrainConfig(weight_decay=0.25, backbone_lr=0.5, **options)
    optimizer = make_optimizer(config, tiny_model("", 3, False), 10)
    assert type(optimizer) is expected
    found = optimizer.get_config()
    assert found["weight_decay"] == 0.25
    assert found["rate_factors"] == {"stem": 0.5, "norm": 0.5}
    assert found["decay_attention_scales"] is (expected is not Adam)
    assert found.get("momentum") == (0.8 if expected is SGD else None)
    assert found["global_clipnorm"] == config.clip_norm
    assert found["gradient_accumulation_steps"] == options.get("accumulation_steps")
    assert (found["use_ema"], found["ema_momentum"]) == (
        config.ema is not None,
        config.ema or 0.99,
    )


def test_the_backbone_of_a_model_is_found_again_after_loading(tmp_path):
    model = build_model("fcn_resnet18", 3, upsample=False)
    model.compile(make_optimizer(TrainConfig(backbone_lr=0.1), model, 10), "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    backbone = {v.path for v in loaded.get_layer("resnet18").trainable_variables}
    found = {v.path: float(loaded.optimizer.group_rate(v, 1.0)) for v in loaded.trainable_variables}
    assert found.keys() >= {"head_conv/conv/kernel", "stem_conv1/conv/kernel"}
    assert found == {path: pytest.approx(0.1 if path in backbone else 1.0) for path in found}
    flat = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="backbone_lr requires a model with a backbone"):
        make_optimizer(TrainConfig(backbone_lr=0.1), flat, 10)
    loaded.get_layer("resnet18").trainable = False
    assert make_optimizer(TrainConfig(backbone_lr=0.1), loaded, 10).rate_factors == {}
    slow = SGD(rate_factors=model.optimizer.rate_factors)
    with pytest.raises(ValueError, match=r"layers with .* 'c2_block1_conv1' and 22 others$"):
        slow.build(loaded.trainable_variables)


def test_the_description_of_a_run():
    config = TrainConfig(dataset="synthetic", **{**EVERYTHING, "ema": 0.999}).resolved()
    model = tiny_model("", 3, False)
    data = {"train": SyntheticDataset("train")}
    line = describe_run(config, data, model, ["CPU:0"], Progress({}), False)[5]
    assert line == (
        "Optimizer: sgd; learning rate 0.01, cosine after 2 steps of warm-up; backbone at 0.5 "
        "times the rate; gradients clipped to norm 0.1; an update per 3 steps (24 images); "
        "validated with averaged weights (momentum 0.999); stops after 2 epochs without a better "
        "score"
    )
