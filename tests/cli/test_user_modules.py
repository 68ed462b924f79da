"""`--import MODULE`: families of models that are registered outside the package."""

import os
import subprocess
import sys

import pytest

from pdanet_tf.cli import main
from pdanet_tf.training import TrainConfig
from pdanet_tf.training.callbacks import StopOnNonFinite

MODULE = '''
import keras
import pdanet_tf

def tiny(normalization="torch", name="tiny"):
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 8, strides=8, name="C5")(image)
    return keras.Model(image, {"C5": features}, name=name)

def my_head(stages, num_classes, dropout):
    return keras.layers.Conv2D(num_classes, 1, name="classifier")(stages["C5"])

@pdanet_tf.register_family({"tiny": tiny}, my_head)
def my_heads(backbone, dropout=0.1, **options):
    """My heads: one layer."""
    return pdanet_tf.segmentation_model("my_heads", backbone, my_head, dropout=dropout, **options)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch, restored_registry):
    """The current folder, with a module of the user's."""
    (tmp_path / "my_heads.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_heads", None)


def test_models_of_a_module_are_listed_and_used(folder, capsys):
    assert main(["models"]) == 0
    assert "my_heads" not in capsys.readouterr().out
    assert main(["models", "--import", "my_heads"]) == 0
    assert "\nMy heads: one layer\n  my_heads_tiny\n\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "there is no such module, neither in the current folder ("),
        ("broken", "1 / 0", "ZeroDivisionError: division by zero (--debug shows where)"),
        ("ends", "raise SystemExit(3)", "SystemExit: 3 (--debug shows where)"),
        ("lacks", "import no_package", "ModuleNotFoundError: No module named 'no_package' ("),
        ("my_heads.py", None, "--import requires the name of a module, such as my_heads for"),
        ("./my_heads", None, "--import requires the name of a module"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(name, content, message, folder, capsys):
    if content is not None:
        (folder / f"{name}.py").write_text(content)
    for command in (["models"], ["train", "--output-dir", "run"]):
        assert main([*command, "--import", "my_heads", "--import", name]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("pdanet-tf: error: ")
        assert f"--import {name}" in line
        assert message in line
    assert not (folder / "run").exists()


def test_the_real_command_trains_a_model_of_the_users(folder, make_folder, monkeypatch, capsys):
    """The command in a process of its own. Resuming the run requires the same option."""
    command = [sys.executable, "-m", "pdanet_tf.cli", "train", "--import", "my_heads"]
    command += ["--model", "my_heads_tiny", "--output-dir", "run", "--epochs", "1"]
    command += ["--steps-per-epoch", "1", "--batch-size", "2", "--crop-size", "16", "16"]
    command += ["--dataset", "folder", "--data-dir", str(make_folder()), "--num-classes", "3"]
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Model: my_heads_tiny, " in done.stdout
    assert TrainConfig.load("run/config.json").model == "my_heads_tiny"

    resume = ["train", "--resume", "--output-dir", "run"]
    assert main(resume) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "There is no model named 'my_heads_tiny'" in line
    assert "--import MODULE" in line
    assert main([*resume, "--import", "my_heads"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(StopOnNonFinite, "on_epoch_begin", interrupt)
    assert main([*resume, "--epochs", "2", "--import", "my_heads"]) == 130
    said = capsys.readouterr().err
    assert "pdanet-tf train --resume --output-dir run --import my_heads (in Python" in said


def interrupt(self, epoch, logs=None):
    raise KeyboardInterrupt
