"""What SECURITY.md promises about files that would execute code or read other files."""

import ast
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import h5py
import pytest
from PIL import EpsImagePlugin, Image

import pdanet_tf
from pdanet_tf.cli.images import find_images
from pdanet_tf.data import DataError, read_image, read_label
from pdanet_tf.data.readers import (
    EncodedFile,
    image_mode,
    image_size,
    inspect_image,
    is_sideways,
)
from pdanet_tf.inference.marked_png import read_mark
from pdanet_tf.weights.files import load_keras_file

MODEL = "segnet_basic"


@pytest.fixture(scope="module")
def model():
    return pdanet_tf.build_model(MODEL, num_classes=2)


def rewrite(path, member, change):
    """Replaces the content of one member of an archive."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[member] = change(contents[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("module", "class_name", "arguments"),
    [
        ("subprocess", "Popen", {"args": ["touch", "executed"]}),
        ("os", "function", "system"),
        ("module_of_the_attacker", "Attack", {}),
    ],
)
def test_a_model_file_cannot_name_what_is_executed(
    model, module, class_name, arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    script = "open('executed', 'w')\nclass Attack: pass\n"
    (tmp_path / "module_of_the_attacker.py").write_text(script)
    named = {
        "module": module,
        "class_name": class_name,
        "config": arguments,
        "registered_name": None,
    }

    def replace_a_layer(content):
        config = json.loads(content)
        layer = config["config"]["layers"][1]
        config["config"]["layers"][1] = {**layer, **named}
        return json.dumps(config).encode()

    def replace_everything(content):
        return json.dumps(named).encode()

    for change in (replace_a_layer, replace_everything):
        model.save("attack.keras")
        rewrite("attack.keras", "config.json", change)
        with pytest.raises(ValueError, match=r"attack\.keras: the model cannot be loaded"):
            load_keras_file("attack.keras")
    assert not (tmp_path / "executed").exists()
    assert "module_of_the_attacker" not in sys.modules


def link(group, name, target):
    del group[name]
    group[name] = h5py.ExternalLink(target, name)


def store_outside(group, name, target):
    shape, dtype = group[name].shape, group[name].dtype
    del group[name]
    group.create_dataset(name, shape, dtype, external=[(target, 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize("point_to", [link, store_outside])
def test_weights_in_another_file_are_not_read(model, point_to, tmp_path):
    weights, secret = tmp_path / "attack.weights.h5", tmp_path / "secret.weights.h5"
    for path in (weights, secret):
        model.save_weights(path)

    def redirect(path):
        with h5py.File(path, "r+") as file:
            names = []
            file.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            point_to(file, names[0], str(secret))

    redirect(weights)
    with pytest.raises(ValueError, match=r"attack\.weights\.h5.*Not allowed"):
        pdanet_tf.build_model(MODEL, num_classes=2, weights=weights)

    def redirect_content(content):
        inside = tmp_path / "inside.h5"
        inside.write_bytes(content)
        redirect(inside)
        return inside.read_bytes()

    model.save(tmp_path / "attack.keras")
    rewrite(tmp_path / "attack.keras", "model.weights.h5", redirect_content)
    with pytest.raises(ValueError, match=r"attack\.keras.*Not allowed"):
        load_keras_file(tmp_path / "attack.keras")


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
showpage
%%EOF
"""


def test_an_image_file_starts_no_program(tmp_path, monkeypatch):
    """Pillow starts Ghostscript for a file that begins as EPS, whatever its name is."""
    programs, mark = tmp_path / "programs", tmp_path / "executed"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\n: > '{mark}'\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # where Pillow remembers its search
    path = tmp_path / "a_labels.jpg"
    path.write_bytes(EPS)
    with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011 - of the false program
        image.load()
    assert mark.exists()
    mark.unlink()
    for source in (path, EncodedFile("in a zip", EPS)):
        for read in (read_image, read_label, inspect_image, image_size, image_mode, is_sideways):
            with pytest.raises(DataError, match="expected BMP, GIF, JPEG, PNG, TIFF or WebP"):
                read(source)
    assert read_mark(path, "source") is None
    assert find_images([str(tmp_path)]) == ({path: "a_labels.jpg"}, [])
    assert not mark.exists()


def test_every_image_is_opened_with_a_list_of_formats():
    unlimited = [
        f"{path}:{node.lineno}"
        for path in Path(pdanet_tf.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and re.search(r"\bImage\.open$", ast.unparse(node.func))
        and "formats" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not unlimited


def test_the_package_neither_unpickles_nor_evaluates_text():
    """A call such as `np.load(...)` or `eval(...)`, or an import of pickle, fails here."""
    found = []
    for path in Path(pdanet_tf.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = ast.unparse(node)
            elif isinstance(node, ast.Call):
                named = ast.unparse(node.func)
            else:
                continue
            if re.search(r"\b(pickle|dill|joblib|marshal|np\.load|saved_model\.load)\b", named):
                found.append(f"{path}: {named}")
            if named in ("eval", "exec", "compile"):
                found.append(f"{path}: {named}")
    assert not found
