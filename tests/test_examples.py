"""Every file of examples/ runs as its docstring says, on small inputs."""

import dataclasses
import os
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.data.batches.augment_function import AugmentFunction
from tests.support.folders import write_folder

FOLDER = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    """Runs an example in this process, as `python examples/NAME ARGUMENTS` would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(FOLDER / name), run_name="__main__")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a model and an image."""
    monkeypatch.chdir(tmp_path)
    Path("runs/first").mkdir(parents=True)
    pdanet_tf.build_model("fcn_resnet18", num_classes=3).save("runs/first/best.keras")
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), "uint8")
    Image.fromarray(image).save("photo.jpg")


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_draw_scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("draw_scene.py", "scene.png", "7")
    run("draw_scene.py", "large.png", "7", "288", "384")
    expected, _ = pdanet_tf.load_dataset("synthetic", "validation").read(7)
    np.testing.assert_array_equal(read("scene.png"), expected)
    assert read("large.png").shape == (288, 384, 3)


def test_predict_and_serve(here, capsys):
    run("predict.py", "runs/first/best.keras", "photo.jpg", "overlay.png")
    shares = re.findall(r": ([\d.]+)%$", capsys.readouterr().out, re.MULTILINE)
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.2)
    assert read("overlay.png").shape[1] >= 64
    run("serve.py", "runs/first/best.keras", "models/pdanet/1", "photo.jpg", "labels.png")
    expected = pdanet_tf.predict("photo.jpg", "runs/first/best.keras").label_map
    assert np.mean(read("labels.png") == expected) > 0.99  # another graph may round otherwise


@pytest.mark.slow
def test_train_your_own_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("train_your_own_way.py")
    model = keras.saving.load_model("two_classes.keras")
    assert model.output_shape[-1] == 2
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.fixture
def short_training(tmp_path, monkeypatch):
    """`pdanet_tf.train` takes two steps. Returns a mapping of what it was called with."""
    options = {"model": "fcn_resnet18", "epochs": 1, "steps_per_epoch": 2, "batch_size": 2}
    train, seen = pdanet_tf.train, {}

    def train_shortly(config, **given):
        seen.update(config=config, **given)
        return train(dataclasses.replace(config, **options), **{"verbose": 0, **given})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pdanet_tf, "train", train_shortly)
    return seen


@pytest.mark.slow
def test_train(short_training, capsys):
    run("train.py", "runs/first")
    assert short_training["config"].model == "pdanet_resnet18"
    assert "The best model is runs/first/best.keras" in " ".join(capsys.readouterr().out.split())
    assert Path("runs/first/best.keras").is_file()


def test_augment_with_albumentations(albumentations, short_training, capsys):
    run("augment_with_albumentations.py", "runs/augmented")
    assert "mean IoU" in capsys.readouterr().out
    assert Path("runs/augmented/best.keras").is_file()
    # The same samples, whichever thread makes them.
    scenes = pdanet_tf.load_dataset("synthetic", "train")
    image, label = scenes.read(0)
    function = AugmentFunction(short_training["augment"], scenes, seed=0)
    expected = [function(image, label, 0, position) for position in range(30)]
    assert 10 < sum((changed != label).any() for _, changed in expected) < 30
    assert any((changed == 255).any() for _, changed in expected)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda position: function(image, label, 0, position), range(30))]
    for arrays, others in zip(expected, found, strict=True):
        for array, other in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.slow
def test_fine_tune(here, capsys):
    write_folder(Path("my_data"), highest=1)
    run("fine_tune.py", "runs/first/best.keras", "my_data", "runs/two")
    told = " ".join(capsys.readouterr().out.split())
    assert "Weights: loaded from runs/first/best.keras (fcn_resnet18, 3 classes), except" in told
    assert keras.saving.load_model("runs/two/best.keras").output_shape[-1] == 2


@pytest.mark.slow
def test_demo(tmp_path):
    # A process of its own: it chooses the allocator before TensorFlow is imported.
    command = [sys.executable, str(FOLDER / "demo.py"), "demo"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert len(re.findall("^== .* Look at ", done.stdout, re.MULTILINE)) == 5
    for name in ("camvid_overlay.png", "first_overlay.png", "overlay.png", "served_labels.png"):
        assert read(tmp_path / "demo" / name).size


def test_all_examples_are_here():
    source = Path(__file__).read_text("utf-8")
    for path in FOLDER.glob("*.py"):
        assert f'"{path.name}"' in source, path
