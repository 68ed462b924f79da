"""Errors and interrupts of the command line: one line, or with --debug the traceback."""

import signal
import subprocess
import sys

import pytest
from PIL import Image

from pdanet_tf.base.pixel_format import RGB
from pdanet_tf.cli import main
from pdanet_tf.data import Classes
from pdanet_tf.inference.protocol import Protocol


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_the_traceback(before, tmp_path, capsys):
    command = ["validate-data", "--dataset", "camvid", "--data-dir", str(tmp_path / "none")]
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert main(["--debug", *command] if before else [*command, "--debug"]) == 1
    *traceback, last = capsys.readouterr().err.splitlines()
    assert last == line
    assert traceback[0] == "Traceback (most recent call last):"
    assert any('data/load.py", line' in each for each in traceback)


def test_debug_shows_the_tracebacks_of_images_that_fail(tmp_path, capsys, monkeypatch):
    image = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(image)
    monkeypatch.setattr("pdanet_tf.cli.commands._load", lambda *_: (None, None))
    monkeypatch.setattr("pdanet_tf.cli.commands.count_classes", lambda _: 3)
    monkeypatch.setattr("pdanet_tf.Predictor", FailingPredictor, raising=False)
    for debug, count in (([], 0), (["--debug"], 1)):
        command = ["predict", str(image), "--model", "m.keras", "--output", str(tmp_path / "out")]
        assert main([*command, *debug]) == 1
        assert capsys.readouterr().err.count("Traceback") == count


class FailingPredictor:
    pixel_format = RGB
    protocol = Protocol()
    crf = None
    classes = Classes.numbered(3)

    def __init__(self, *_, **__):
        pass

    def label_maps(self, images):
        raise OSError("no memory for this image")


def test_an_interrupt_while_modules_are_imported_is_one_line():
    """Ctrl-C as soon as `main` is called, before the options have been read."""
    script = """
import os, signal, sys, threading
from pdanet_tf.base.pixel_format import RGB
from pdanet_tf.cli import main
class Interrupt:
    def find_spec(self, name, *_):
        if name == "pdanet_tf.cli.options":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.exit(main(["models"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "pdanet-tf: Interrupted.\n")
    assert signal.SIGINT == 2


def test_the_command_itself_imports_nothing_heavy():
    """The time in which Ctrl-C shows a traceback is that of Python and `import pdanet_tf`."""
    script = """
import sys, pdanet_tf
before = set(sys.modules)
import pdanet_tf.cli
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["pdanet_tf.cli"]
