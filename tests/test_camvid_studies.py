"""The studies on CamVid in examples/camvid: what they run, how they go on, and what they write."""

import csv
import dataclasses
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from pdanet_tf.recipes import find
from tests.support.folders import write_folder

FOLDER = Path(__file__).parents[1] / "examples" / "camvid"
SMALL = {"short_edge": 32, "crop_size": (32, 32)}


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """The modules of the example are found as in `python examples/camvid/compare.py`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) == str(FOLDER / f"{name}.py"):
            del sys.modules[name]


def load(name):
    return importlib.import_module(name)


def options(study, backbone="resnet18"):
    """What the runs of a study change over the recipe, by name."""
    return {
        run.name: run.options for run in load("studies").make_runs(study, Path(), backbone, [0], {})
    }


def test_the_models_come_first_without_and_then_with_deep_supervision():
    heads = ["fcn", "pspnet", "danet", "pdanet"]
    expected = [(f"{head}_resnet34", aux) for aux in (False, True) for head in heads]
    found = [
        (run.configure().model, run.configure().aux_head)
        for run in load("studies").make_runs("models", Path(), "resnet34", [0], {"epochs": 7})
    ]
    assert found == expected
    two_seeds = load("studies").make_runs("models", Path("runs"), "resnet18", [3, 1], {"epochs": 7})
    assert [run.seed for run in two_seeds] == 8 * [3] + 8 * [1]
    config = two_seeds[-1].configure()
    assert (config.seed, config.epochs, config.output_dir) == (
        1, 7, "runs/pdanet_resnet18-aux/seed1"
    )  # fmt: skip


def test_the_study_of_gamma_has_every_energy_with_and_without_decay():
    found = {
        (
            config.model,
            (config.head_options or {}).get("channel_energy", "dissimilar"),
            config.decay_attention_scales,
        )
        for run in load("studies").make_runs("gamma", Path(), "resnet18", [0], {})
        for config in [run.configure()]
    }
    assert len(options("gamma")) == len(found) == 8
    assert {model for model, _, _ in found} == {"danet_resnet18", "pdanet_resnet18"}
    # What both studies need is trained once.
    assert options("gamma")["danet_resnet18"] == options("models")["danet_resnet18"]


def test_each_run_of_the_ablation_changes_one_thing():
    runs = load("studies").make_runs("ablation", Path(), "resnet18", [0], {})
    assert [run.configure().model for run in runs] == ["pdanet_resnet18_half"] * len(runs)
    base = runs[0].configure()
    for run in runs[1:]:
        changed = run.configure()
        assert {name for name in run.options if name != "model"} == {
            name
            for name in changed.to_dict()
            if getattr(changed, name) != getattr(base, name) and name != "output_dir"
        }, run.name


class Processes:
    """Stands for `pdanet-tf train`: writes the files of a run, or fails."""

    def __init__(self, status=None):
        self.status, self.calls = status or {}, []

    def run(self, command):
        arguments = dict(zip(command[4::2], command[5::2], strict=False))
        folder = Path(arguments["--output-dir"])
        self.calls.append((folder.parent.name, "--resume" in command))
        status = self.status.get(folder.parent.name, 0)
        if isinstance(status, BaseException):
            raise status
        if not status:
            config = find("camvid-comparison").config
            if "--config" in arguments:
                config = type(config).load(arguments["--config"])
            write_run(folder, config)
        return subprocess.CompletedProcess(command, status)


def write_run(folder, config, epochs=2, ended=True):
    """Writes the files of a run: mean IoU 0.25 and then 0.5, gamma 0.125 and then 0.0625."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder / "config.json")
    rows = ["0,3.0,0.125,-1,0.25", "1,2.0,0.0625,-2,0.5"][:epochs]
    columns = "epoch,loss,gamma_channel_1,gamma_position_1,val_mean_iou"
    (folder / "history.csv").write_text("\n".join([columns, *rows, ""]))
    (folder / "last.keras").touch()
    weights = BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/conv/vars/0"] = np.zeros((3, 3, 2, 5))
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2)
    with zipfile.ZipFile(folder / "best.keras", "w") as archive:
        archive.writestr("model.weights.h5", weights.getvalue())
    if ended:
        scores = {"mean_iou": 0.5 + config.seed / 8, "pixel_accuracy": 0.75, "mean_accuracy": 0.625}
        iou = {"sky": 0.875, "road": 0.125}
        summary = {
            "config": config.to_dict(),
            "seconds": 90.0,
            "validation": {**scores, "iou_per_class": iou},
            "versions": {"keras": "3"},
            "devices": ["/device:CPU:0"],
        }
        (folder / "summary.json").write_text(json.dumps(summary))


def study(monkeypatch, tmp_path, processes, *arguments, write_report=lambda *_: None):
    """Runs the program with stand-ins for its processes; returns its exit status."""
    compare = load("compare")
    monkeypatch.setattr(compare.subprocess, "run", processes.run)
    if not (tmp_path / "camvid").exists():
        write_folder(tmp_path / "camvid", 1, splits=("train", "val"), highest=10)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    command = ["compare.py", "gamma", "--data-dir", str(tmp_path / "camvid")]
    command += [
        "--runs",
        str(tmp_path / "runs"),
        "--results",
        str(tmp_path / "results"),
        "--epochs",
        "2",
        *arguments,
    ]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(compare, "write_report", write_report)
    return compare.main()


def test_a_run_that_fails_does_not_stop_the_others(monkeypatch, tmp_path, capsys):
    names = [*options("gamma")]
    first = Processes({names[1]: 1})
    assert study(monkeypatch, tmp_path, first) == 1
    assert first.calls == [(name, False) for name in names]
    captured = capsys.readouterr()
    assert f"Failed: {tmp_path / 'runs' / names[1] / 'seed0'}: pdanet-tf train" in captured.err
    # The second time only that one runs.
    second = Processes()
    assert study(monkeypatch, tmp_path, second) == 0
    assert second.calls == [(names[1], False)]


def test_a_report_that_cannot_be_written_hides_no_failed_run(monkeypatch, tmp_path, capsys):
    def write_report(*_):
        raise OSError("the disk is full")

    failing = Processes({[*options("gamma")][1]: 1})
    assert study(monkeypatch, tmp_path, failing, write_report=write_report) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("Failed: ")
    assert second == "compare.py: error: the results cannot be written: the disk is full"
    assert study(monkeypatch, tmp_path, Processes(), write_report=write_report) == 1


def test_a_study_that_was_stopped_resumes_its_run(monkeypatch, tmp_path, capsys):
    names = [*options("gamma")]
    assert study(monkeypatch, tmp_path, Processes({names[2]: KeyboardInterrupt()})) == 130
    assert "The same command continues" in capsys.readouterr().err
    stopped = load("studies").make_runs("gamma", tmp_path / "runs", "resnet18", [0], {"epochs": 2})
    write_run(stopped[2].folder, stopped[2].configure(), epochs=1, ended=False)
    again = Processes()
    assert study(monkeypatch, tmp_path, again) == 0
    assert again.calls == [(names[2], True), *((name, False) for name in names[3:])]
    calls = json.loads(stopped[2].folder.with_suffix(".calls.json").read_text())["calls"]
    assert [(call["first"], call["last"], call["status"]) for call in calls] == [
        (0, 0, -signal.SIGINT),
        (1, 2, 0),
    ]


def test_a_run_with_other_options_is_refused(monkeypatch, tmp_path, capsys):
    assert study(monkeypatch, tmp_path, Processes()) == 0
    untouched = Processes()
    assert study(monkeypatch, tmp_path, untouched, "--epochs", "3", "--batch-size", "4") == 1
    assert untouched.calls == []
    message = r"holds another run, with epochs=2, not 3; batch_size=8, not 4. Choose the same opti"
    assert re.search(message, capsys.readouterr().err)


def test_a_part_of_the_runs_of_a_study(monkeypatch, tmp_path):
    names, chosen = [*options("gamma")], Processes()
    assert study(monkeypatch, tmp_path, chosen, "--only", names[3], names[1]) == 0
    assert chosen.calls == [(names[1], False), (names[3], False)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "danet_resnet18-simila"],
            r"--only: the study 'gamma' has no run 'danet_resnet18-simila' \(did you mean",
        ),
        (["--epochs", "0"], "error: epochs must be at least 1"),
        (["--backbone", "resnet19"], r"'danet_resnet19' \(did you mean 'danet_resnet18'\?\)"),
        (["--data-dir", "nowhere"], "error: nowhere: there is no such folder"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    arguments, message, monkeypatch, tmp_path, capsys
):
    untouched = Processes()
    assert study(monkeypatch, tmp_path, untouched, *arguments) == 2
    assert untouched.calls == []
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def runs(tmp_path):
    """Two seeds of one model, one seed of another, and one that has not ended."""
    chosen = [*options("models")]
    for seed in (0, 1):
        for run in load("studies").make_runs("models", tmp_path / "runs", "resnet18", [seed], {}):
            if (run.name, seed) in [(chosen[3], 0), (chosen[3], 1), (chosen[5], 0)]:
                write_run(run.folder, run.configure())
            elif (run.name, seed) == (chosen[0], 1):
                write_run(run.folder, run.configure(), epochs=1, ended=False)
    return tmp_path / "runs"


def test_the_report_of_whatever_has_ended(runs, tmp_path):
    results = tmp_path / "results"
    (runs / "pdanet_resnet18" / "seed1.without_attention.json").write_text('{"mean_iou": 0.5}')
    load("report").write_report(runs, results, "resnet18", None)
    text = (results / "README.md").read_text()
    # The mean of 0.5 and 0.625, and the standard deviation of a sample; then the last epochs.
    row = "| `pdanet_resnet18` |  | 0, 1 | 0.5625 ± 0.0884 | 0.3750 (0.250 to 0.500) | 0.7500 ± 0."
    assert row in text
    assert "| `pspnet_resnet18-aux` | `aux_head=true` | 0 | 0.5000 |" in text
    assert "\npython examples/camvid/compare.py models --data-dir CamVid --seeds 0 1\n" in text
    assert "| sky | 0.875 | 0.875 |" in text
    assert "- `fcn_resnet18`, seed 1: 1 of 60 epochs, best mean IoU so far 0.2500" in text
    assert "| `pdanet_resnet18` | 1 | 2 | -2.000 | 0.062 | 0.6250 | 0.5000 |" in text
    assert "<!-- insert" not in text
    stored = json.loads((results / "runs" / "pdanet_resnet18-seed1.json").read_text())
    assert stored["validation"]["iou_per_class"] == {"sky": 0.875, "road": 0.125}
    assert stored["curves"]["gamma_channel_1"] == [0.125, 0.0625]
    assert (stored["best_epoch"], stored["seconds"], stored["is_complete"]) == (2, 90.0, True)
    assert not {"data_dir", "output_dir"} & stored["config"].keys()
    assert not json.loads((results / "runs" / "fcn_resnet18-seed1.json").read_text())["is_complete"]
    for link in re.findall(r"\]\(((?!\.\.)[^)]+)\)", text):
        assert (results / link).is_file() or link == "predictions.png", link
    card = (results / "cards" / "pspnet_resnet18-aux-seed0.md").read_text()
    assert "| model | `pspnet_resnet18` of pdanet_tf" in card
    assert "| parameters | 90 |" in card
    assert "The best epoch was number 2." in card
    card = (results / "cards" / "pdanet_resnet18-seed1.md").read_text()
    assert "| 1 | 0.6250 | 0.7500 | 0.6250 |\n| mean | 0.5625 ± 0.0884 |" in card
    card = (results / "cards" / "pspnet_resnet18-aux-seed0.md").read_text()
    assert (
        "pdanet-tf train --recipe camvid-comparison --data-dir CamVid --model pspnet_resnet18 "
        "--aux-head --seed 0\n"
    ) in card
    for name in ("curves-models.png", "gammas.png"):
        assert (results / name).stat().st_size < 150_000
        with Image.open(results / name) as image:
            assert image.width == 1100


def test_runs_that_were_made_elsewhere_stay_in_the_results(runs, tmp_path):
    results, write = tmp_path / "results", load("report").write_report
    (runs / "pdanet_resnet18" / "seed1.without_attention.json").write_text('{"mean_iou": 0.5}')
    write(runs, results, "resnet18", None)

    def everything():
        names = ("README.md", "cards/pdanet_resnet18-seed1.md", "runs/pdanet_resnet18-seed1.json")
        return [(results / name).read_text() for name in names]

    before = everything()
    for folder in ("pdanet_resnet18", "fcn_resnet18"):
        shutil.move(runs / folder, tmp_path / folder)
    write(runs, results, "resnet18", None)
    assert everything() == before
    # A run that is here takes the place of the one that was elsewhere.
    shutil.move(tmp_path / "fcn_resnet18", runs / "fcn_resnet18")
    write_run(runs / "fcn_resnet18" / "seed1", find("camvid-comparison").configure(seed=1))
    write(runs, results, "resnet18", None)
    text = (results / "README.md").read_text()
    assert "fcn_resnet18`, seed 1: 1 of 60" not in text
    assert text.replace("\n", " ").count("`pdanet_resnet18`") == before[0].count(
        "`pdanet_resnet18`"
    )
    (results / "runs" / "danet_resnet18-seed0.json").write_text('{"name": "danet_resnet18"}')
    with pytest.raises(ValueError, match=r"danet_resnet18-seed0\.json: not the JSON file of a run"):
        write(runs, results, "resnet18", None)


def test_changes_are_compared_with_the_plain_run_of_the_same_model(tmp_path):
    """Best epochs: 0.5 and 0.625; the last three: 0.2, 0.3, 0.5 and 0.4, 0.5, 0.6."""
    chosen = {run.name: run for run in load("studies").make_runs("models", tmp_path, "r", [0], {})}
    for name, seed, scores in (
        ("fcn_r", 0, (0.9, 0.2, 0.3, 0.5)),
        ("fcn_r-aux", 1, (0.1, 0.4, 0.5, 0.6)),
        ("danet_r-aux", 0, (0.1, 0.4, 0.5, 0.6)),
    ):
        config = find("camvid-comparison").config
        options = {**chosen[name].options, "seed": seed}
        write_run(chosen[name].folder, dataclasses.replace(config, **options))
        rows = [f"{epoch},{score}" for epoch, score in enumerate(scores)]
        history = "\n".join(["epoch,val_mean_iou", *rows, ""])
        (chosen[name].folder / "history.csv").write_text(history)
    table = load("tables").scores(load("records").read_records(tmp_path))
    heading, _, danet, plain, changed = table.splitlines()
    assert "| mean IoU | difference | last 3 epochs | their difference | pixel" in heading
    assert "| 0.5000 |  | 0.5000 (0.400 to 0.600) |  | 0.7500 |" in danet  # nothing to compare with
    assert "| 0.5000 |  | 0.3333 (0.200 to 0.500) |  | 0.7500 | 0.6250 | 1 of 4 |" in plain
    assert "| 0.6250 | +0.1250 | 0.5000 (0.400 to 0.600) | +0.1667 | 0.7500 |" in changed


def test_a_run_of_another_budget_is_not_compared(tmp_path):
    chosen = {run.name: run for run in load("studies").make_runs("models", tmp_path, "r", [0], {})}
    config = find("camvid-comparison").config
    for name, options in (("fcn_r", {}), ("fcn_r-aux", {"precision": "mixed_bfloat16"})):
        run = chosen[name]
        write_run(run.folder, dataclasses.replace(config, **run.options, **options))
    heading = load("tables").scores(load("records").read_records(tmp_path)).splitlines()[0]
    assert "difference" not in heading


def test_the_command_of_a_study_asks_for_its_options(monkeypatch):
    studies, compare = load("studies"), load("compare")
    asked = ["--epochs", "7", "--batch-size", "4", "--steps", "9", "--precision", "mixed_bfloat16"]
    asked = ["gamma", "--data-dir", "CamVid", *asked, "--seeds", "0", "2"]
    asked += ["--backbone", "resnet18_half"]
    shared = {"epochs": 7, "batch_size": 4, "steps_per_epoch": 9, "precision": "mixed_bfloat16"}
    runs = studies.make_runs("gamma", Path(), "resnet18_half", [0, 2], shared)
    command = studies.spell_study("gamma", "resnet18_half", [run.configure() for run in runs])
    assert compare.parse(command.split()[2:]) == compare.parse(asked)
    plain = find("camvid-comparison").configure(seed=0)
    plain = dataclasses.replace(plain, steps_per_epoch=367 // plain.batch_size)
    plain = studies.spell_study("ablation", "resnet34", [plain])
    assert plain == "python examples/camvid/compare.py ablation --data-dir CamVid"


def test_the_run_on_jax_is_among_the_results_and_stays_there(runs, tmp_path):
    folder, results, write = tmp_path / "jax", tmp_path / "results", load("report").write_report
    folder.mkdir()
    path = "pyramid/level_3/dual_attention/position_attention/gamma"
    rows = ["1,30,3.5,0.125,0.25,0.5", "25,40,0.5,0.75,1,-0.25"]
    head = f"epoch,seconds,loss,val_mean_iou,sky,{path}"
    (folder / "history.csv").write_text("\n".join([head, *rows, ""]))
    with pytest.raises(FileNotFoundError, match=r"run\.json"):
        write(runs, results, "resnet18", None, folder)
    (folder / "run.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"jax: expected run\.json and history\.csv of train_on_jax"
    ):
        write(runs, results, "resnet18", None, folder)
    options = {"model": "pdanet_resnet18_half", "seed": "0", "epochs": "25", "data_dir": "/here"}
    content = {"options": options, "device": "GPU", "versions": {"jax": "1.2"}}
    (folder / "run.json").write_text(json.dumps(content))
    write(runs, results, "resnet18", None, folder)
    write(runs, results, "resnet18", None)
    text = (results / "README.md").read_text()
    assert "| 25 | 0.5000 | 0.7500 |\n\n40 seconds on one GPU (jax 1.2)." in text
    assert (results / "curves-shipped.png").exists()
    stored = json.loads((results / "runs" / "shipped_model.json").read_text())
    assert (stored["seed"], stored["epochs"], stored["is_complete"]) == (0, 25, True)
    assert stored["validation"] == {"mean_iou": 0.75, "iou_per_class": {"sky": 1.0}}
    assert stored["curves"]["gamma_position_6"] == [0.5, -0.25]
    assert "data_dir" not in stored["config"]


def test_a_study_of_another_backbone_is_shown_with_it(tmp_path):
    studies = load("studies")
    full = studies.make_runs("models", tmp_path / "runs", "resnet18", [0], {})[:4]
    narrow = studies.make_runs("gamma", tmp_path / "runs", "resnet18_quarter", [0], {})[:-1]
    for run in [*full, *narrow]:
        write_run(run.folder, run.configure())
    load("report").write_report(tmp_path / "runs", tmp_path / "results", "resnet18", None)
    text = (tmp_path / "results" / "README.md").read_text()
    models, gamma = re.findall(r"(?s)\n## (?:The four models|Do the attention)(.+?)(?=\n## )", text)
    assert re.findall(r"\n\| `([^`]+)` \|", models) == [run.name for run in full]
    shown = [run.name for run in [*narrow, *full[2:]]]  # FCN and PSPNet have no scales
    assert re.findall(r"\n\| `([^`]+)` \| 0 \| 2 \|", gamma) == shown
    assert "study `gamma`, not begun: `pdanet_resnet18_quarter-similar-no-decay`\n" in text
    assert "`fcn_resnet18-aux`" in text
    assert "`fcn_resnet18_quarter`" not in text


def test_the_command_of_a_card_gives_the_options_of_the_run(tmp_path):
    for run in load("studies").make_runs("gamma", tmp_path, "resnet18", [2], {"epochs": 9}):
        write_run(run.folder, run.configure())
    parser = importlib.import_module("pdanet_tf.cli.options").make_parser()
    for record in load("records").read_records(tmp_path):
        command = load("cards").spell_command(record).split()
        given = vars(parser.parse_args(command[1:]))
        known = record.config.to_dict().keys() - {"recipe"}
        found = find(given["recipe"]).configure(**{k: v for k, v in given.items() if k in known})
        assert {**found.to_dict(), "data_dir": None, "output_dir": ""} == {
            **record.config.to_dict(), "output_dir": ""
        }  # fmt: skip


def test_a_report_of_nothing_is_refused(tmp_path, monkeypatch, capsys):
    report = load("report")
    monkeypatch.setattr(sys, "argv", ["report.py", "--runs", str(tmp_path / "none")])
    assert report.main() == 1
    assert "none contains no run in a folder NAME/seedSEED" in capsys.readouterr().err


def test_an_unknown_insert_of_the_template_is_named():
    with pytest.raises(ValueError, match=r"no insert 'gamma' \(did you mean 'gammas'\?\)"):
        load("report").fill("<!-- insert gamma -->", {"gammas": str, "open": str})
    filled = load("report").fill(
        "<!-- of the template\nalone -->\n\n<!-- insert a -->\n", {"a": lambda: "b"}
    )
    assert filled.endswith("-->\n\nb\n")


def test_scenes_are_drawn_in_the_colours_of_the_classes():
    from pdanet_tf.data.classes import Classes

    classes = Classes(("a", "b"), ((1, 2, 3), (200, 100, 50)))
    tile = np.array([[0, 1], [1, 255]], "uint8")
    image = np.full((2, 2, 3), 77, "uint8")
    drawings = load("drawings")
    sheet = np.asarray(drawings.draw_sheet({"x": [tile], "y": [image]}, classes, ["scene"]))
    # The first tile begins below two lines of text, at the left margin.
    assert [*sheet[32 + 10, 6 + 10]] == [1, 2, 3]
    assert [*sheet[32 + 10, 6 + 230]] == [200, 100, 50]
    assert [*sheet[32 + 170, 6 + 230]] == [0, 0, 0]  # no class
    assert [*sheet[32 + 202 + 90, 6 + 120]] == [77, 77, 77]
    assert drawings.choose_scenes(range(101)) == [16, 50, 84]


@pytest.mark.slow
def test_a_killed_study_continues_with_its_checkpoint(tmp_path):
    """With real processes: killed after an epoch, then finished, then nothing is left to do."""
    write_folder(tmp_path / "camvid", 8, splits=("train", "val"), highest=10)
    script = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import compare, studies\n"
        f"small = {SMALL!r}\n"
        "studies.STUDIES['models'] = lambda _: {\n"
        "    'pdanet_resnet18_quarter': {'model': 'pdanet_resnet18_quarter', **small},\n"
        "    'wrong': {'model': 'fcn_resnet18', **small, 'head_options': {'width': 3}},\n"
        "}\n"
        "sys.exit(compare.main())\n"
    )
    command = [sys.executable, "-c", script, "models", "--data-dir", str(tmp_path / "camvid")]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    command += ["--epochs", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("Epoch 1/5") for line in process.stdout)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 130
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pdanet_resnet18_quarter/seed0: continues" in done.stdout
    assert "Epoch 1/5" not in done.stdout
    assert "Epoch 5/5" in done.stdout
    assert re.search("Failed: .*/wrong/seed0: pdanet-tf train ended with status 1", done.stderr)
    text = (tmp_path / "results" / "README.md").read_text()
    assert "| `pdanet_resnet18_quarter` |" in text
    assert (tmp_path / "results" / "predictions.png").stat().st_size < 150_000
    assert (tmp_path / "runs" / "scenes.png").exists()
    program = [sys.executable, FOLDER / "without_attention.py", *command[4:6]]
    subprocess.run([*program, "--runs", tmp_path / "runs"], check=True)
    score = tmp_path / "runs" / "pdanet_resnet18_quarter" / "seed0.without_attention.json"
    assert 0 <= json.loads(score.read_text())["mean_iou"] <= 1


@pytest.mark.slow
def test_training_on_jax_writes_a_model_that_scores_as_it_did_there(tmp_path):
    write_folder(tmp_path / "camvid", 8, (32, 32), ("train", "val"), highest=10)
    command = [sys.executable, FOLDER / "train_on_jax.py", "--data-dir", tmp_path / "camvid"]
    command += ["--output", tmp_path / "run", "--model", "pdanet_resnet18_quarter"]
    command += [
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "--crop-size",
        "32",
        "32",
        "--warmup-steps",
        "1",
    ]
    command += ["--average", "0.5", "--precision", "float32", "--score-every", "2"]
    subprocess.run(command, check=True, env={**os.environ, "KERAS_BACKEND": "jax"})
    with (tmp_path / "run" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    evaluate = [sys.executable, "-m", "pdanet_tf.cli", "evaluate", "--dataset", "camvid"]
    evaluate += ["--data-dir", tmp_path / "camvid", "--json", tmp_path / "score.json"]
    evaluate += ["--model", tmp_path / "run" / "pdanet_resnet18_quarter.keras"]
    subprocess.run(evaluate, check=True, capture_output=True)
    score = json.loads((tmp_path / "score.json").read_text())["mean_iou"]
    # The file has half precision.
    assert score == pytest.approx(float(rows[-1]["val_mean_iou"]), abs=0.002)
