"""Two processes on this machine take the steps of one."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from pdanet_tf.training.progress import Progress
from pdanet_tf.training.termination import EXIT_STATUS
from tests.training.test_cluster import config as environment_of
from tests.training.test_cluster import free_addresses

# What each of the processes runs.
_TRAIN = """
import sys
from pdanet_tf import TrainConfig, train
train(TrainConfig(
    output_dir=sys.argv[1], model="fcn_resnet18_quarter", dataset="synthetic", epochs=2,
    steps_per_epoch=3, batch_size=5, crop_size=(32, 40), dropout=0.0, learning_rate=1e-5,
    aux_head=True, loss=sys.argv[2],
), verbose=0)
"""
# "killed": after the fifth of six steps, while the state after the fourth is saved. "terminated":
# after the fourth step, so that the training stops after the fifth.
_STOPPED = """
import os, signal, sys
import keras
from pdanet_tf import TrainConfig, train

STOPS = {"killed": (1, 1, signal.SIGKILL), "terminated": (1, 0, signal.SIGTERM)}

class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        *when, number = STOPS[sys.argv[2]]
        if when == [self.epoch, batch]:
            os.kill(os.getpid(), number)

train(TrainConfig(
    output_dir=sys.argv[1], model="fcn_resnet18_quarter", dataset="synthetic", epochs=2,
    steps_per_epoch=3, batch_size=5, crop_size=(32, 40), learning_rate=1e-5, checkpoint_every=2,
    accumulation_steps=2, ema=0.9,
), verbose=0, callbacks=[Stop()] if sys.argv[2] in STOPS else [])
"""
# `fit` of Keras alone, and with one of the two steps around its faults.
_KERAS = """
import sys
import keras, numpy as np, tensorflow as tf
from pdanet_tf.training.cluster import read_cluster
from pdanet_tf.training.devices import choose_strategy
import os
strategy, _ = choose_strategy(read_cluster(os.environ))
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse", jit_compile=False)
twin = keras.Model(model.inputs, model.outputs)
with strategy.scope():
    twin.compile("sgd", "mse", jit_compile=False)
x = np.ones((4, 4), "float32")
data = tf.data.Dataset.from_tensors((x, x[:, :3])).repeat()
data = strategy.distribute_datasets_from_function(lambda _: data)
for name, one in (("built", model), ("reduced", twin)):
    try:
        with strategy.scope():
            one.fit(data, epochs=1, steps_per_epoch=1, verbose=0, shuffle=False)
        print(name, "works", flush=True)
    except ValueError as error:
        print(name, "fails", flush=True)
"""


def run_workers(start, *arguments, sizes=2, log_level="3"):
    """Runs Python in several processes that train together; returns what each printed.

    Args:
        start: The arguments of Python that all processes have, such as `["-c", script]`.
        *arguments: A list for each further argument: the first process has its first value, and so
            on, over and over.
        sizes: Number of processes.
        log_level: What TensorFlow does not log; None for its default.
    """
    addresses = list(free_addresses(sizes))
    processes = []
    for index in range(sizes):
        task = {"type": "worker", "index": index}
        named = environment_of({"worker": addresses}, task) if sizes > 1 else {}
        named |= {} if log_level is None else {"TF_CPP_MIN_LOG_LEVEL": log_level}
        processes.append(
            subprocess.Popen(
                [sys.executable, *start, *(a[index % len(a)] for a in arguments)],
                env={**os.environ, **named},
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return [(*each.communicate(timeout=600), each.returncode) for each in processes]


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """With three images of each batch, and with two."""
    folders = one, two = tmp_path / "one", tmp_path / "two"
    for folder, sizes in zip(folders, (1, 2), strict=True):
        for _, errors, status in run_workers(["-c", _TRAIN], [str(folder)], ["ce"], sizes=sizes):
            assert status == 0, errors
    # Only the chief writes.
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    for alone, both in zip(rows(one), rows(two), strict=True):
        for name, value in both.items():
            # In validation, pixels between two classes change with the last digit.
            close = {"abs": 0.01} if name.startswith("val_") else {"rel": 1e-4}
            assert value == pytest.approx(alone[name], **close), name
        assert both["logits_mean_iou"] == alone["logits_mean_iou"]
    weights = [
        np.concatenate([np.ravel(w) for w in keras.saving.load_model(f / "last.keras").weights])
        for f in folders
    ]
    assert np.linalg.norm(weights[0] - weights[1]) <= 1e-5 * np.linalg.norm(weights[0])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_command_trains_in_two_processes(backend, tmp_path, monkeypatch):
    """The chief alone prints, also the scores at the end, and nothing that TensorFlow logs."""
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    command = ["-m", "pdanet_tf.cli", "train", "--model", "fcn_resnet18_quarter"]
    command += ["--dataset", "synthetic", "--epochs", "1", "--steps-per-epoch", "2"]
    command += ["--batch-size", "4", "--crop-size", "32", "40", "--output-dir", str(tmp_path / "a")]
    chief, other = run_workers(command, log_level=None)
    for _, errors, status in (chief, other):
        assert status == 0, errors
        assert errors == ""
    assert "Epoch 1/1" in chief[0]
    assert f"The best model is {tmp_path / 'a' / 'best.keras'}" in chief[0]
    # Gloo, by which JAX connects processes on CPUs, says so.
    assert [line for line in other[0].splitlines() if not line.startswith("[Gloo]")] == []


@pytest.mark.slow
def test_two_processes_that_are_stopped_continue_within_an_epoch(tmp_path):
    """With dropout, and an update that begins before the stop and ends after it.

    SIGKILL stops both. SIGTERM stops one of them, and the other with it.
    """
    whole = tmp_path / "whole"
    run_to_the_end(whole)
    for kinds, status, step in (
        (["killed"], -signal.SIGKILL, 1),
        (["whole", "terminated"], EXIT_STATUS, 2),
    ):
        stopped = tmp_path / "-".join(kinds)
        statuses = [s for *_, s in run_workers(["-c", _STOPPED], [str(stopped)], kinds)]
        # Of two that are killed, one may end before, because it does not find the other.
        assert status in statuses
        assert 0 not in statuses
        assert kinds == ["killed"] or statuses == [status] * 2
        progress = Progress.read(stopped / "last.keras")
        assert (progress.epochs, progress.step) == (1, step)
        run_to_the_end(stopped)
        check_same_end(whole, stopped)


def run_to_the_end(folder):
    for _, errors, status in run_workers(["-c", _STOPPED], [str(folder)], ["whole"]):
        assert status == 0, errors


def check_same_end(whole, stopped):
    states = [keras.saving.load_model(folder / "last.keras") for folder in (whole, stopped)]
    assert states[0].optimizer.iterations == states[1].optimizer.iterations == 3
    numbers = [[*state.weights, *state.optimizer.variables] for state in states]
    one, other = (np.concatenate([np.ravel(v) for v in each]) for each in numbers)
    assert np.linalg.norm(one - other) <= 1e-6 * np.linalg.norm(one)
    for alone, both in zip(rows(whole), rows(stopped), strict=True):
        assert both["mean_iou"] == alone["mean_iou"]  # counts of pixels, which are exact
        assert both["loss"] == pytest.approx(alone["loss"], rel=1e-5)


@pytest.mark.slow
def test_processes_with_other_options_do_not_train(tmp_path):
    for _, errors, status in run_workers(["-c", _TRAIN], [str(tmp_path / "run")], ["ce", "focal"]):
        assert status == 1
        assert "The workers differ, so none of them trains: loss is 'focal'" in errors
    assert not (tmp_path / "run" / "last.keras").exists()


@pytest.mark.slow
def test_keras_still_has_the_faults_that_are_stepped_around():
    """If this test fails, `training.devices.spread` may be simplified."""
    for printed, errors, status in run_workers(["-c", _KERAS]):
        assert status == 0, errors
        assert printed.split() == ["built", "fails", "reduced", "fails"]
