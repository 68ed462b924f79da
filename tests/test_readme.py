"""What README.md shows, runs."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from pdanet_tf.cli.options import make_parser
from pdanet_tf.weights.published import CHECKPOINTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_python_blocks_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(block, {})
    with Image.open("overlay.png") as overlay:
        assert overlay.height >= 144
        assert overlay.width > 192
    assert re.search(r"^\{'\w+': [01]\.", capsys.readouterr().out, re.MULTILINE)  # shares


def test_commands_have_the_options_that_are_shown():
    commands = [
        shlex.split(line)[1:]
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("pdanet-tf ")
    ]
    assert {command[0] for command in commands} >= {"train", "evaluate", "predict", "export"}
    for command in commands:
        assert make_parser().parse_args(command).command == command[0]


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert "docs/overlay.png" in targets
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).is_file(), target
    for example in re.findall(r"`(examples/\w+\.\w+)`", README):
        assert (ROOT / example).is_file(), example


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_published_checkpoints_are_named(name):
    assert f"`{name}`" in README
