"""The program that kills training notices runs that differ, and finds none."""

import random
import shutil
import zipfile

import keras
import pytest
from rich.console import Console

from benchmarks import kill_test
from benchmarks.kill_test import differences, kill_runs, main, numbers


@pytest.mark.slow
def test_runs_that_were_killed_end_exactly_alike(capsys):
    assert main(["--kills", "3", "--cases", "1", "--seed", "1"]) == 0
    said = capsys.readouterr().out
    assert "kill 3" in said
    assert "run-0 differs" not in said


def test_a_run_that_is_killed_while_it_ends_is_complete(tmp_path, monkeypatch):
    started = []

    def start(options, data, folder):
        folder.mkdir()
        started.append(folder)

    def kill_after(process, seconds):
        (started[-1] / "summary.json").touch()
        return True

    monkeypatch.setattr(kill_test, "start", start)
    monkeypatch.setattr(kill_test, "kill_after", kill_after)
    monkeypatch.setattr(kill_test, "wait_for_state", lambda *_: 1.0)
    monkeypatch.setattr(kill_test, "wait", lambda *_: None)
    monkeypatch.setattr(kill_test, "differences", lambda *_: [])
    outcome = kill_runs({}, 2, random.Random(0), tmp_path, Console(quiet=True))
    assert [folder.name for folder in started] == ["whole", "run-0", "run-1"]
    assert (outcome.kills, outcome.runs, outcome.exact) == (2, 2, 2)


def test_a_number_that_differs_is_noticed(tmp_path):
    for name in ("whole", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.csv").write_text("epoch,loss\n0,1.5\n")
    inputs = keras.Input((2,))
    x = keras.layers.Dropout(0.5)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(x))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "whole" / "last.keras")
    names = [name for name, _ in numbers(tmp_path / "whole" / "last.keras")]
    assert len(names) == 2 + 2 + 4  # weights, iterations and rate, two moments of each weight
    assert not any("seed" in name for name in names)
    shutil.copy(tmp_path / "whole" / "last.keras", tmp_path / "whole" / "best.keras")
    shutil.copy(tmp_path / "whole" / "last.keras", tmp_path / "run" / "best.keras")
    model.optimizer.iterations.assign_add(1)
    model.save(tmp_path / "run" / "last.keras")
    with zipfile.ZipFile(tmp_path / "run" / "last.keras") as archive:
        assert archive.testzip() is None
    assert differences(tmp_path / "run", tmp_path / "whole") == ["last.keras"]
    (tmp_path / "run" / "history.csv").write_text("epoch,loss\n0,1.25\n")
    assert differences(tmp_path / "run", tmp_path / "whole") == ["last.keras", "history.csv"]
