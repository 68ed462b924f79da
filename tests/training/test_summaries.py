"""Runs side by side: `pdanet-tf runs`."""

import json
import statistics
import subprocess
import sys

import pytest
from PIL import Image

from pdanet_tf import cli
from pdanet_tf.training.summaries import RunComparison


def write_run(folder, score, **options):
    """Writes the summary of a run with some options and a mean IoU."""
    config = {"output_dir": str(folder), "model": "fcn_resnet18", "seed": 0, **options}
    validation = {
        "mean_iou": score,
        "pixel_accuracy": 0.9,
        "mean_accuracy": 0.7,
        "iou_per_class": {"sky": score},
    }
    folder.mkdir(parents=True)
    content = {"config": config, "seconds": 120.0, "validation": validation}
    (folder / "summary.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path):
    for seed, score in enumerate((0.5, 0.6, 0.4)):
        write_run(tmp_path / "fcn" / str(seed), score, seed=seed, epochs=3)
    write_run(tmp_path / "pdanet", 0.7, model="pdanet_resnet18", epochs=3)
    return tmp_path


def test_runs_that_differ_in_their_seeds_share_a_line(runs):
    best, other = RunComparison.of_folders([runs, runs / "pdanet"]).groups
    assert best.title == "pdanet_resnet18"
    assert other.title == "fcn_resnet18"
    assert [run.config["seed"] for run in other.runs] == [0, 1, 2]
    assert other.mean("mean_iou") == pytest.approx(0.5)
    assert other.spread("mean_iou") == pytest.approx(statistics.stdev((0.5, 0.6, 0.4)))


def test_a_line_names_the_options_that_differ(runs):
    write_run(runs / "longer", 0.65, epochs=9)
    titles = [group.title for group in RunComparison.of_folders([runs]).groups]
    assert titles == ["pdanet_resnet18 epochs=3", "fcn_resnet18 epochs=9", "fcn_resnet18 epochs=3"]


def test_runs_that_have_not_ended_are_named(runs, tmp_path, capsys):
    for name, rows in (("two", "epoch,loss\n0,1\n1,2\n"), ("none", "")):
        (runs / name).mkdir()
        (runs / name / "history.csv").write_text(rows)
    (runs / "pdanet" / "history.csv").write_text("epoch,loss\n0,1\n")  # this one has ended
    (runs / "early").mkdir()
    (runs / "early" / "last.keras").touch()  # stopped within its first epoch
    found = RunComparison.of_folders([runs, runs])
    assert found.unfinished == {runs / "early": 0, runs / "none": 0, runs / "two": 2}
    assert found.to_dict()["unfinished"][2] == {"folder": str(runs / "two"), "epochs": 2}
    assert cli.main(["runs", str(runs)]) == 0
    said = "".join(capsys.readouterr().out.split())
    assert f"{runs / 'none'}(0epochs),{runs / 'two'}(2epochs)" in said


def test_the_time_of_a_resumed_run_is_marked_as_a_part(runs, capsys):
    file = runs / "pdanet" / "summary.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "steps_before": 45}))
    resumed, other = RunComparison.of_folders([runs]).groups
    assert (resumed.minutes, other.minutes) == ("> 2.0", "2.0")
    figures = RunComparison.of_folders([runs]).to_dict()["groups"]
    assert figures[0]["runs"][0]["steps_before"] == 45
    assert figures[0]["standard_deviations"]["mean_iou"] is None
    assert figures[1]["standard_deviations"]["mean_iou"] == pytest.approx(0.1)


def test_the_command_writes_table_figures_and_chart(runs, capsys):
    outputs = runs / "figures.json", runs / "chart.png"
    options = "--json", str(outputs[0]), "--chart", str(outputs[1])
    assert cli.main(["runs", str(runs), *options]) == 0
    table = capsys.readouterr().out
    assert "4 runs" in table
    assert "0.5000 ± 0.1000" in table
    assert "0, 1, 2" in table
    groups = json.loads(outputs[0].read_text())["groups"]
    assert [len(group["runs"]) for group in groups] == [1, 3]
    assert groups[0]["runs"][0]["iou_per_class"] == {"sky": 0.7}
    with Image.open(outputs[1]) as chart:
        assert chart.width > 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"pdanet.summary\.json: not the summary of a run"),
        ('{"config": 3, "seconds": 1, "validation": []}', "not the summary of a run"),
        ("[", r"summary\.json: not JSON"),
    ],
)
def test_a_damaged_summary_is_named(text, message, runs, capsys):
    (runs / "pdanet" / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunComparison.of_folders([runs])
    assert cli.main(["runs", str(runs)]) == 1
    assert "summary.json" in capsys.readouterr().err


def test_folders_without_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        RunComparison.of_folders([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match="contains no run that has ended"):
        RunComparison.of_folders([tmp_path])


def test_neither_keras_nor_tensorflow_is_imported(runs):
    script = [sys.executable, "-X", "importtime", "-m", "pdanet_tf.cli", "runs", str(runs)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pdanet_tf.training.summaries" in imported
    assert not {"tensorflow", "keras"} & imported
