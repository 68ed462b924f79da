"""`pdanet-tf import-labels`."""

import subprocess
import sys

import pytest

from pdanet_tf.cli import main
from pdanet_tf.data import load_dataset
from tests.support.labelled import write_labelled


def run(*arguments):
    return main(["import-labels", *map(str, arguments)])


def test_the_command_reports_what_it_imported(tmp_path, capsys):
    source = write_labelled(tmp_path / "in", "coco")
    images = tmp_path / "in" / "images"
    out = tmp_path / "out"
    assert run(source, "--format", "coco", "--images", images, "--output", out) == 0
    printed = capsys.readouterr().out
    assert "Share of the labelled pixels" in printed
    assert f"Imported to {out}: 3 train, 2 validation; 4 classes." in printed
    assert "Without a shape: 1 image." in printed
    assert f"pdanet-tf train --dataset folder --data-dir {out}" in printed
    assert load_dataset("folder", "train", out).classes.names[1] == "road"
    assert main(["validate-data", "--dataset", "folder", "--data-dir", str(out)]) == 0
    assert "Images: 3 of train and 2 of validation" in capsys.readouterr().out


def test_splits_on_the_command_line(tmp_path):
    source = write_labelled(tmp_path / "in", "labelme")
    (tmp_path / "t.txt").write_text("a1\nb1\n")
    (tmp_path / "v.txt").write_text("b3.png\n")
    out = tmp_path / "out"
    lists = (f"train={tmp_path / 't.txt'}", f"validation={tmp_path / 'v.txt'}")
    assert run(source, "--format", "labelme", "--output", out, "--split-lists", *lists) == 0
    assert sorted(path.name for path in (out / "images").rglob("*.png")) == [
        "a1.png",
        "b1.png",
        "b3.png",
    ]
    out = tmp_path / "by_source"
    sources = (f"train={source}", f"test={source / 'a1.json'}")
    assert run(*sources, "--format", "labelme", "--output", out) == 0
    assert {path.name for path in (out / "images").iterdir()} == {"train", "test"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "labelmee"], "(did you mean 'labelme'?)"),
        (["--format", "labelme", "--split-lists", "a.txt"], "--split-lists takes SPLIT=PATH"),
        (["--format", "labelme", "--color-table", "x"], "does not take --color-table"),
        (["--format", "labelme", "--class-names", "road"], "not among --class-names"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, tmp_path, capsys):
    source = write_labelled(tmp_path / "in", "labelme")
    assert run(source, "--output", tmp_path / "out", *arguments) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("pdanet-tf: error: ")
    assert message in printed
    assert not (tmp_path / "out").exists()


def test_a_missing_source(tmp_path, capsys):
    assert run(tmp_path / "no.json", "--format", "coco", "--output", tmp_path / "out") == 1
    assert f"{tmp_path / 'no.json'}: is missing, expected a file" in capsys.readouterr().err


def test_neither_keras_nor_tensorflow_is_imported(tmp_path):
    source = write_labelled(tmp_path / "in", "labelme")
    script = (
        "import sys; from pdanet_tf.cli import main\n"
        f"main(['import-labels', {str(source)!r}, '--format', 'labelme',"
        f" '--output', {str(tmp_path / 'out')!r}])\n"
        "print(sorted({'keras', 'tensorflow', 'tensorflow_datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
