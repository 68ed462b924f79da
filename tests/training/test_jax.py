"""Training on Keras' JAX backend takes the steps of training on TensorFlow, on all devices.

Keras chooses its backend when it is imported, so every run is a process of its own.
"""

import csv
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from pdanet_tf import build_model
from tests.training.test_cluster import config as environment_of
from tests.training.test_cluster import free_addresses

_TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
# What each of the processes runs.
_CONFIG = """
import os, signal, sys
import keras
from pdanet_tf import TrainConfig, train
from pdanet_tf.training import TrainingTerminated

def config(output, **options):
    return TrainConfig(**{
        "output_dir": output, "dataset": "folder", "data_dir": sys.argv[1], "num_classes": 3,
        "model": "fcn_resnet18_quarter", "epochs": 2, "steps_per_epoch": 5, "batch_size": 4,
        "crop_size": (32, 40), "dropout": 0.0, "learning_rate": 1e-3, **options,
    })
"""
_TRAIN = """
train(
    config(
        sys.argv[2], weights=sys.argv[1], dataset="synthetic", data_dir=None, num_classes=None,
        aux_head=True,
    ),
    verbose=0,
)
"""
# SIGTERM arrives in the second step of the second epoch.
_TERMINATE = """
class Terminate(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)

options = {"dropout": 0.1, "ema": 0.9, "momentum": 0.9}
train(config(sys.argv[2], **options), verbose=0)
try:
    train(config(sys.argv[3], **options), verbose=0, callbacks=[Terminate()])
except TrainingTerminated as error:
    print(error)
train(config(sys.argv[3], **options), verbose=0)
"""
_REFUSED = """
try:
    train(config(sys.argv[2], batch_size=3), verbose=0)
except ValueError as error:
    print(error)
mesh = keras.distribution.DeviceMesh((2,), ["model"])
layout = keras.distribution.ModelParallel(
    layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name="model"
)
with layout.scope():
    try:
        train(config(sys.argv[2]), verbose=0)
    except ValueError as error:
        print(error)
"""


def run(script, *arguments, backend="jax", processes=1, **environment):
    """Runs a script in one or several processes; returns what the first one printed."""
    addresses, started = list(free_addresses(processes)), []
    for index in range(processes):
        named = {}
        if processes > 1:
            named = environment_of({"worker": addresses}, {"type": "worker", "index": index})
        variables = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **environment, **named}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", _CONFIG + script, *map(str, arguments)],
                env={**os.environ, **variables},
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = [(*each.communicate(timeout=1800), each.returncode) for each in started]
    for _, errors, status in done:
        assert status == 0, errors
    return done[0][0]


def weights(folder):
    """Returns all weights of the last state, and the averages of batch norm, as one vector."""
    found = []

    def add(name, item):
        if isinstance(item, h5py.Dataset) and name.startswith("layers/") and "seed" not in name:
            found.append(np.ravel(item[()]).astype("float64"))

    with (
        zipfile.ZipFile(folder / "last.keras") as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        file.visititems(add)
    return np.concatenate(found)


def distance(one, two):
    """Returns how much the weights of two runs differ, relative to the weights."""
    first, second = weights(one), weights(two)
    assert first.size > 600_000
    return np.linalg.norm(first - second) / np.linalg.norm(first)


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_jax_trains_as_tensorflow_and_several_devices_as_one(tmp_path):
    keras.utils.set_random_seed(0)
    start = tmp_path / "start.keras"
    build_model("fcn_resnet18_quarter", 8, aux_head=True).save(start)
    folders = tensorflow, one, two, processes = [tmp_path / name for name in "abcd"]
    run(_TRAIN, start, tensorflow, backend="tensorflow")
    run(_TRAIN, start, one)
    run(_TRAIN, start, two, **_TWO_DEVICES)
    run(_TRAIN, start, processes, processes=2)
    for folder in folders:
        assert distance(tensorflow, folder) <= 1e-5
        # Only the first process writes.
        assert {path.name for path in folder.iterdir()} == {path.name for path in one.iterdir()}
        for alone, other in zip(rows(tensorflow), rows(folder), strict=True):
            assert other == pytest.approx(alone, rel=1e-4)  # a pixel may change its class
    for folder in (two, processes):
        for alone, other in zip(rows(one), rows(folder), strict=True):
            assert other["logits_mean_iou"] == alone["logits_mean_iou"]
            assert other["logits_pixel_accuracy"] == alone["logits_pixel_accuracy"]
    assert rows(processes) == rows(two)


@pytest.mark.slow
def test_a_run_on_jax_is_resumed_within_an_epoch(make_folder, tmp_path):
    """With dropout, and with moving averages, which `fit` assigns to the weights at its end."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    printed = run(_TERMINATE, make_folder(count=6), whole, resumed)
    assert "keeps the state after step 2 of 5 of epoch 2 of 2" in printed
    assert distance(whole, resumed) <= 1e-6
    for one, other in zip(rows(whole), rows(resumed), strict=True):
        assert other == pytest.approx(one, rel=1e-6)


@pytest.mark.slow
def test_what_cannot_be_distributed_is_refused(make_folder, tmp_path):
    printed = run(_REFUSED, make_folder(count=6), tmp_path / "run", **_TWO_DEVICES)
    first, second = printed.splitlines()
    assert first == (
        "batch_size must be a multiple of the number of devices, 2, because JAX divides arrays "
        "into equal parts. Use 2 or 4, fewer devices, or the TensorFlow backend. Received: "
        "batch_size=3"
    )
    assert second.startswith("Training takes a keras.distribution.DataParallel. Received: ModelP")
    assert not (tmp_path / "run").exists()
