"""The command `pdanet-tf request`."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf import cli
from pdanet_tf.data.class_table import CLASSES_FILE, write_class_table
from pdanet_tf.data.classes import Classes
from tests.support.images import random_image
from tests.support.served_model import REFUSAL, labels_of
from tests.support.servers import MODEL, reply, serve_http, serve_rest


@pytest.fixture(scope="module")
def url(signatures):
    with serve_rest(signatures) as url:
        yield url


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(random_image(20, 24)).save(folder / f"{name}.png")
    return folder


def test_label_maps_and_overlays_are_those_of_predict(url, photos, tmp_path, capsys):
    classes = Classes(("dark", "middle", "bright"), ((0, 0, 9), (0, 9, 0), (9, 0, 0)))
    write_class_table(tmp_path / CLASSES_FILE, classes)
    output = tmp_path / "out"
    command = ["request", url, str(photos), "--model", MODEL, "--output", str(output), "--palette"]
    assert cli.main([*command, "--classes", str(tmp_path / CLASSES_FILE)]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "a_labels.png",
        "a_overlay.png",
        "b_labels.png",
        "b_overlay.png",
    ]
    with Image.open(output / "a_labels.png") as labels:
        np.testing.assert_array_equal(np.asarray(labels), labels_of(random_image(20, 24)))
        assert labels.getpalette()[:9] == [0, 0, 9, 0, 9, 0, 9, 0, 0]
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{photos / 'a.png'}: ")
    assert first.endswith("middle 38%, bright 32%, dark 29%")
    assert second.startswith(f"{photos / 'b.png'}: ")
    assert last == f"The label maps and overlays are in {output}"
    assert cli.main([*command, "--class-names", "a", "b", "c"]) == 0  # replaces its own results


def test_an_image_that_fails_costs_only_itself(url, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.fromarray(np.zeros((200, 100, 3), "uint8")).save(photos / "large.png")
    output = tmp_path / "out"
    output.mkdir()
    (output / "b_labels.png").write_text("mine")
    command = ["request", url, str(photos), str(tmp_path / "no*.jpg"), "--model", MODEL]
    assert cli.main([*command, "--output", str(output)]) == 1
    printed = capsys.readouterr()
    assert f"{photos / 'a.png'}: class " in printed.out
    errors = printed.err.splitlines()
    assert len(errors) == 5
    assert "this pattern has no match" in errors[0]
    assert f"{output / 'b_labels.png'}: this file exists" in errors[1]
    assert f"{photos / 'broken.jpg'}: " in errors[2]
    assert f"{photos / 'large.png'}: the server refused the image: {REFUSAL}" in errors[3]
    assert errors[4] == "pdanet-tf: not segmented: 3 of 4"
    assert (output / "b_labels.png").read_text() == "mine"
    assert (output / "a_overlay.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "pdante"], "the server has no model 'pdante'"),
        (["--protocol", "open-inference"], "the server does not speak this protocol"),
        (["--classes", "none.csv"], "No such file or directory: 'none.csv'"),
        (["--class-names", "dark"], "classes has only 1 name"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--timeout", "-1"], "timeout must be above 0"),
    ],
)
def test_other_errors_are_one_line(options, message, url, photos, tmp_path, capsys):
    command = ["request", url, str(photos), "--model", MODEL, "--output", str(tmp_path / "out")]
    assert cli.main([*command, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pdanet-tf: error: ")
    assert message in line


def test_a_deadline_is_told_for_each_image(photos, tmp_path, capsys):
    with serve_http(lambda handler, _: reply(handler, 504, b"")) as url:
        command = ["request", url, str(photos), "--model", MODEL, "--timeout", "2"]
        assert cli.main([*command, "--output", str(tmp_path / "out")]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    for name, line in zip("ab", errors, strict=False):
        assert f"{photos / name}.png: the server at {url} did not answer " in line
        assert line.endswith("within --timeout 2 seconds. Raise it, or lower --batch-size")
