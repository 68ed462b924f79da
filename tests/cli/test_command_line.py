"""Options and messages of the command line."""

import dataclasses
import itertools
import os
import subprocess
import sys

import pytest

import pdanet_tf
from pdanet_tf import layers
from pdanet_tf.base.catalog import model_names
from pdanet_tf.base.choices import NORMALIZATIONS
from pdanet_tf.cli import commands, main, outputs
from pdanet_tf.cli.options import TRAIN_GROUPS, make_parser
from pdanet_tf.cli.spelling import spell_as_options
from pdanet_tf.weights.published import CHECKPOINTS


def test_every_field_of_the_configuration_is_in_one_group():
    names = list(itertools.chain(*TRAIN_GROUPS.values()))
    assert sorted(names) == sorted(
        field.name for field in dataclasses.fields(pdanet_tf.TrainConfig)
    )


def test_every_command_can_be_run():
    for command in commands.COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            make_parser().parse_args([command, "--help"])
    for name in NORMALIZATIONS:
        assert layers.PixelNormalization(name).normalization == name


def test_a_reader_that_has_ended_is_no_error():
    """As in `pdanet-tf models | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pdanet_tf.cli", "models"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_folder_that_cannot_be_exported_to_is_told_before_the_model_is_loaded(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(commands, "load_for_inference", lambda *_: pytest.fail("too late"))
    size = ["--format", "litert", "--size", "96", "128"]
    assert main(["export", "--model", "camvid", "--output", str(tmp_path), *size]) == 1
    assert f"--output {tmp_path}: already exists; choose a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["train", "--lerning-rate", "1"], "'--learning-rate'"),
        (["predict", "photo.jpg", "--outptu=results"], "'--output'"),
    ],
)
def test_an_unknown_option_names_the_nearest(arguments, nearest, capsys):
    with pytest.raises(SystemExit, match="2"):
        make_parser().parse_args(arguments)
    message = capsys.readouterr().err
    assert nearest in message
    assert f"(see pdanet-tf {arguments[0]} --help)" in message
    assert message.count("\n") == 1


def test_only_what_was_typed_is_given_to_training():
    options = vars(make_parser().parse_args(["train", "--epochs", "3", "--no-flip"]))
    assert options == {"command": "train", "epochs": 3, "flip": False}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Choose another output_dir, or resume=True.", "Choose another --output-dir, or --resume."),
        ("Received: epochs=0", "Received: --epochs 0"),
        ("set flip=False", "set --no-flip"),
        ("/home/output_dir/epochs: the model", "/home/output_dir/epochs: the model"),
        ("resume the model", "resume the model"),
        ("Received: crop_size=(63, 64)", "Received: --crop-size 63 64"),
        ("Received: class_names=('a', 'b c')", "Received: --class-names 'a' 'b c'"),
        ("Received: epochs=None, flip=True", "Received: no --epochs, --flip"),
        ("a/inference.json: flip=1 is no boolean", "a/inference.json: flip=1 is no boolean"),
        ("output_dir.txt and my_output_dir", "output_dir.txt and my_output_dir"),
    ],
)
def test_messages_are_spelled_as_options(message, expected):
    names = ("output_dir", "resume", "epochs", "flip", "model", "crop_size", "class_names")
    assert spell_as_options(message, names) == expected


def test_models_are_listed_by_family_without_tensorflow():
    script = (
        "import sys\n"
        "from pdanet_tf.cli import main\n"
        "assert main(['models']) == 0\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[2] == "PDANet: a pyramid of dual attention"
    assert lines[3].split() == ["pdanet_resnet18", "29.47", "M", "118", "MB"]
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == [*model_names(), *CHECKPOINTS]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chart", "out.xyz"], "--chart out.xyz: expected an image file"),
        (["--chart", "out"], "--chart out: expected an image file"),
        (["--json", "."], "--json .: exists"),
        (["--json", "best.keras"], "--json best.keras: exists"),
    ],
)
def test_output_files_are_checked_before_the_work(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.keras").write_text("a model")
    for command in (["validate-data"], ["evaluate", "--model", "best.keras"], ["benchmark"]):
        assert main([*command, *options]) == 1
        assert message in capsys.readouterr().err
    assert (tmp_path / "best.keras").read_text() == "a model"


def test_a_wrong_option_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--epochs", "2.5"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "--epochs: invalid int value: '2.5'" in line


def test_an_option_of_several_values_may_be_repeated():
    arguments = ["train", "--ignore-label", "11", "--ignore-label", "12", "255"]
    assert make_parser().parse_args(arguments).ignore_label == [11, 12, 255]


def test_tables_in_files_are_not_cut(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert outputs.open_console().width >= 200
