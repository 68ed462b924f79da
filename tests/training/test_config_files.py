"""Configurations as files: written, read, run again, and refused with a reason."""

import dataclasses
import json
import tomllib

import pytest

from pdanet_tf import cli
from pdanet_tf.base.fields import with_nearest
from pdanet_tf.training import TrainConfig
from pdanet_tf.training.config import FORMAT_VERSION
from pdanet_tf.training.config_files import format_toml
from pdanet_tf.training.run import train

# The options of each format. A test fails when an option is added without a new format: an older
# pdanet_tf would then call the option unknown, instead of advising to upgrade.
OPTIONS_OF_FORMAT = {1: 36, 2: 57, 3: 58, 4: 64}


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


def test_a_configuration_is_the_same_after_saving_and_loading(tmp_path):
    config = TrainConfig(
        output_dir="a folder/é",
        crop_size=(8, 16),
        class_names=("cat", "dog"),
        scale_range=(1, 2.5),
        dropout=0.25,
        flip=False,
        seed=2**32 - 1,
    )
    config.save(tmp_path / "config.json")
    assert TrainConfig.load(tmp_path / "config.json") == config
    assert TrainConfig(**config.to_dict()) == config
    content = json.loads((tmp_path / "config.json").read_text())
    assert content.pop("version") == FORMAT_VERSION
    # Files without a format, of before it was introduced.
    assert TrainConfig.load(write(tmp_path / "old.json", **content)) == config
    assert TrainConfig.load(write(tmp_path / "few.json", seed=3)) == TrainConfig(seed=3)


def test_new_options_have_a_new_format():
    assert len(dataclasses.fields(TrainConfig)) == OPTIONS_OF_FORMAT[FORMAT_VERSION]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"version": FORMAT_VERSION + 1, "new_option": 3},
            f"a newer pdanet_tf wrote this file, in format {FORMAT_VERSION + 1}; pdanet_tf 0.1.0 "
            f"reads formats up to {FORMAT_VERSION}. Upgrade pdanet_tf",
        ),
        ({"version": 0}, "version must be at least 1. Received: version=0"),
        ({"version": "1"}, "version must be an integer. Received: version='1' (str)"),
        (
            {"epoch": 3, "Batch-Size": 2, "xyz": "red"},
            "unknown: 'Batch-Size' (did you mean 'batch_size'?), 'epoch' (did you mean "
            "'epochs'?), 'xyz'",
        ),
        ({"epochs": "3"}, "epochs must be an integer. Received: epochs='3' (str)"),
        (
            {"crop_size": [16]},
            "crop_size must be a sequence of 2 integers or None. Received: crop_size=[16] (list)",
        ),
        ({"epochs": 0}, "epochs must be at least 1. Received: epochs=0"),
    ],
)
def test_wrong_files_are_refused_with_the_reason(content, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "config.json", **content)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the whole message is compared)
        TrainConfig.load("config.json")
    assert str(raised.value) == f"config.json: {message}"
    assert cli.main(["train", "--config", "config.json", "--output-dir", "run"]) == 1
    assert capsys.readouterr().err == f"pdanet-tf: error: config.json: {message}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_files_that_hold_no_configuration_are_refused(tmp_path, capsys):
    (tmp_path / "text.json").write_text("epochs: 3")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "run.yaml").write_text("epochs: 3")
    for name, message in (
        ("text.json", "text.json: not JSON in UTF-8: Expecting value: line 1 column 1 (char 0)"),
        ("list.json", "list.json: expected a JSON object, found an array"),
        (".", f" is a folder; expected a file, such as {tmp_path}/config.json"),
        ("none.json", "none.json does not exist"),
        ("none.toml", "none.toml does not exist"),
        ("run.yaml", "run.yaml: expected a configuration in a .toml or .json file"),
    ):
        command = ["train", "--output-dir", str(tmp_path / "run")]
        assert cli.main([*command, "--config", str(tmp_path / name)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(message)
    assert not (tmp_path / "run").exists()


def test_a_file_is_run_with_the_options_that_are_given(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr("pdanet_tf.training.run.train", trained.append)
    file = tmp_path / "config.json"
    config = TrainConfig(output_dir="runs/first", epochs=3, flip=False, class_names=("a", "b"))
    config.resolved().save(file)
    command = ["train", "--config", str(file)]

    def error(*options):
        assert cli.main([*command, *options]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("pdanet-tf: error: ")

    assert error() == (
        "--config requires --output-dir, a folder for the new run. The folder in "
        f"{file} is runs/first"
    )
    assert error("--resume", "--output-dir", "runs/first").startswith("--config starts a new run")
    assert error("--output-dir", "x", "--recipe", "paper").startswith("--crop-size ")
    assert trained == []
    given = ["--output-dir", "runs/second", "--epochs", "5", "--class-names", "c", "d", "e"]
    with pytest.raises(AttributeError):  # there is no result to print
        cli.main([*command, *given, "--flip"])
    assert trained == [
        dataclasses.replace(
            config.resolved(),
            output_dir="runs/second",
            epochs=5,
            class_names=("c", "d", "e"),
            flip=True,
        )
    ]


TOML = """
# a comment
version = 1
output_dir = "a folder/é"
crop_size = [8, 16]
class_names = ["cat", 'dog']
ignore_label = 11
scale_range = [1, 2.5]
dropout = 0.25
flip = false
seed = 4_294_967_295

[head_options]
pool_scales = [1, 2, 4]
channel_energy = "similar"
"""


def test_toml_and_json_are_the_same_configuration(tmp_path):
    content = {
        "version": 1,
        "output_dir": "a folder/é",
        "crop_size": [8, 16],
        "class_names": ["cat", "dog"],
        "ignore_label": 11,
        "scale_range": [1, 2.5],
        "dropout": 0.25,
        "flip": False,
        "seed": 2**32 - 1,
        "head_options": {"pool_scales": [1, 2, 4], "channel_energy": "similar"},
    }
    config = TrainConfig.load(write(tmp_path / "config.json", **content))
    assert config.head_options == {"pool_scales": (1, 2, 4), "channel_energy": "similar"}
    assert config.weight_decay == TrainConfig.weight_decay  # what is left out
    for name, text in (
        ("run.toml", TOML.encode()),
        ("run.TOML", b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode()),
    ):
        (tmp_path / name).write_bytes(text)
        assert TrainConfig.load(tmp_path / name) == config


def test_what_is_formatted_as_toml_is_read_again():
    options = {
        "text": "é \U0001f600 \"'\\ \x00\x1f\x7f\n\t",
        "numbers": (1, -2.5, 1e-10, 1e22),
        "flag": True,
        "none": None,
        "names": ("a", "b"),
        "table": {"pool scales": (1, 2), "é": "x"},
    }
    found = tomllib.loads(format_toml(options))
    expected = json.loads(json.dumps({k: v for k, v in options.items() if v is not None}))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "epochs = 3\nseed 4",
            "not TOML in UTF-8: Expected '=' after a key in a key/value pair (at line 2, column 6)",
        ),
        ("epochs = 3\nepochs = 4", "not TOML in UTF-8: Cannot overwrite a value (at line 2, "),
        ("epochs = null", "not TOML in UTF-8: Invalid value (at line 1, column 10)"),
        (b"model = '\xff'", "not TOML in UTF-8: 'utf-8' codec can't decode byte 0xff"),
        ("epoch = 3", "unknown: 'epoch' (did you mean 'epochs'?)"),
        ("[train]\nepochs = 3", "unknown: 'train'"),
        ("epochs = '3'", "epochs must be an integer. Received: epochs='3' (str)"),
        ("epochs = 2026-01-01", "epochs must be an integer. Received: epochs=datetime.date("),
        ("learning_rate = inf", "learning_rate must be a finite number. Received: learning_rate=i"),
        ("version = 99", "a newer pdanet_tf wrote this file, in format 99; pdanet_tf 0.1.0 reads"),
        (
            'recipe = "fine-tune"',
            "recipe must be crop or paper, the recipe for the batches. Received: "
            "recipe='fine-tune'. Named recipes for whole runs are in pdanet_tf.recipes",
        ),
    ],
)
def test_wrong_toml_is_refused_with_the_reason(text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the beginning is compared)
        TrainConfig.load("run.toml")
    assert str(raised.value).startswith(f"run.toml: {message}")
    assert cli.main(["train", "--config", "run.toml", "--output-dir", "run"]) == 1
    assert capsys.readouterr().err == f"pdanet-tf: error: {raised.value}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_a_toml_file_may_name_the_folder_of_the_run(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr("pdanet_tf.training.run.train", trained.append)
    (tmp_path / "run.toml").write_text('output_dir = "runs/mine"\nepochs = 3')
    for given, expected in (([], "runs/mine"), (["--output-dir", "x"], "x")):
        with pytest.raises(AttributeError):  # there is no result to print
            cli.main(["train", "--config", str(tmp_path / "run.toml"), *given])
        assert trained.pop() == TrainConfig(output_dir=expected, epochs=3)


def test_the_nearest_name_is_suggested():
    known = ["epochs", "seed", "crop_size"]
    assert with_nearest(["epoch", "xyz"], known) == "'epoch' (did you mean 'epochs'?), 'xyz'"
    assert with_nearest(["crop-size"], known) == "'crop-size' (did you mean 'crop_size'?)"
    assert len(with_nearest(["x" * 300_000], known)) < 200


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"crop_size": (1_000_000, 1_000_000)}, "crop_size"),
        ({"batch_size": 10**12}, "crop_size"),
        ({"batch_size": 10**12, "recipe": "paper"}, "short_edges"),
    ],
)
def test_a_batch_that_does_not_fit_into_memory(options, advice, tmp_path):
    config = TrainConfig(output_dir=str(tmp_path / "run"), model="fcn_resnet18", **options)
    with pytest.raises(ValueError, match=rf"GiB\. Reduce batch_size or {advice}$"):
        train(config)
    assert not list(tmp_path.rglob("*.json"))
