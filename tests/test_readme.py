"""What README.md and CONTRIBUTING.md show, runs; what the pages name, exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.base.catalog import FAMILIES
from pdanet_tf.cli.options import make_parser
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.models import registry
from pdanet_tf.weights.published import CHECKPOINTS
from tests.test_architecture import STOREYS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TRAINING = (ROOT / "docs" / "training.md").read_text("utf-8")
CAMVID = (ROOT / "docs" / "camvid.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def blocks(language, page=README):
    found = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


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
        for block in (*blocks("sh"), *blocks("sh", TRAINING), *blocks("sh", CAMVID))
        for line in re.sub(r" > .*| +#.*|\\\n", "", block).splitlines()
        if line.startswith("pdanet-tf ")
    ]
    shown = {command[0] for command in commands}
    assert shown >= {"train", "evaluate", "predict", "export", "recipes"}
    for command in commands:
        assert make_parser().parse_args(command).command == command[0]


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def headings(page):
    """The anchors of a page's headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", re.sub("`[^`]*`", "", text)):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            assert (page.parent / file).is_file(), target
            assert not anchor or anchor in headings(page.parent / file), target
    for path in re.findall(r"`((?:pdanet_tf|tests|benchmarks|examples|docs)/[\w/.]+)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page):
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text("utf-8")):
        assert f"def {name}(" in tests, name


@pytest.fixture
def registered(monkeypatch):
    """Removes the models that a test registers."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    for family in list(FAMILIES):
        monkeypatch.setitem(FAMILIES, family, FAMILIES[family])
    before = set(FAMILIES)
    yield
    for family in set(FAMILIES) - before:
        del FAMILIES[family]


@pytest.mark.usefixtures("registered")
def test_a_head_and_a_backbone_of_the_users_own():
    head, backbone, _ = blocks("python", CONTRIBUTING)  # the third has a test of its own
    assert len([line for line in head.splitlines() if line]) <= 10
    exec(head, {"__name__": "my_head"})
    model = pdanet_tf.build_model("linear_resnet18", 3, output_stride=32, aux_head=True)
    images = np.zeros((1, 33, 47, 3), "uint8")
    assert {name: logits.shape for name, logits in model(images).items()} == {
        "logits": (1, 33, 47, 3),
        "aux_logits": (1, 33, 47, 3),
    }
    names = {}
    exec(backbone, names)
    assert names["model"].name == "fcn_own"
    assert names["model"](images).shape == (1, 33, 47, 5)


def test_the_serving_signature_is_pasted_and_answers(tmp_path, monkeypatch):
    path = ROOT / "pdanet_tf" / "exporting" / "signatures.py"
    _, pasted, _ = re.split(r"^    \.\.\.  # .*\n", blocks("python", CONTRIBUTING)[2], flags=re.M)
    source, (place, *_) = path.read_text("utf-8"), pasted.splitlines(keepends=True)
    assert source.count(place) == 1
    source = source.replace(place, pasted)
    for command in (["format", "--check"], ["check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
        done = subprocess.run(ruff, input=source, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
    module = {"__name__": "pasted"}
    exec(source, module)
    keras.utils.set_random_seed(2)  # some draws of the weights give one class everywhere
    names = {}
    exec(blocks("python", CONTRIBUTING)[1], names)
    monkeypatch.setattr(
        "pdanet_tf.exporting.saved_model.make_signatures", module["make_signatures"]
    )
    folder = pdanet_tf.export_saved_model(names["model"], tmp_path / "1", Protocol())
    signatures = tf.saved_model.load(str(folder)).signatures
    assert {*signatures} == {"serving_default", "image", "probabilities", "areas"}
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3)).astype("uint8")
    found = signatures["areas"](image=tf.constant(images))["areas"]
    predictor = Predictor(names["model"], Protocol())
    expected = [predictor.probabilities(image).mean((0, 1)) for image in images]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_commands_of_contributing_name_what_exists():
    lines = [line for block in blocks("sh", CONTRIBUTING) for line in block.splitlines()]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\S+)", "\n".join(lines), re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"\btests(?:/[\w.]+)+", "\n".join(lines)):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"-m (benchmarks\.\w+)", "\n".join(lines)):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_layout_that_contributing_draws_is_the_tested_one():
    picture = blocks("", CONTRIBUTING)[0]
    rows = [re.split(r"\s{2,}", line.strip()) for line in picture.splitlines()]
    for storey, row in zip(reversed(STOREYS), rows, strict=True):
        names = {name.removeprefix("pdanet_tf.") for name in storey}
        assert names == {cell.split(" ")[0] for cell in row[: len(storey)]}, row


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_published_checkpoints_are_named(name):
    assert f"`{name}`" in README
