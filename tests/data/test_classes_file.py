"""The file of an export that holds its classes."""

import re

import pytest

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.classes_file import read_classes
from pdanet_tf.exporting.assets import CLASSES_FILE, write_classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings


def test_classes_are_read_as_an_export_writes_them(tmp_path):
    classes = Classes(("sky", 'a "wall", grey', "Straße"), ((0, 1, 2), (3, 4, 255), (9, 9, 9)))
    write_classes(tmp_path, classes)
    assert read_classes(tmp_path / CLASSES_FILE) == classes


def test_classes_are_read_from_inference_json(tmp_path):
    classes = Classes(("sky", "road"), ((0, 1, 2), (3, 4, 255)))
    InferenceSettings(classes, Protocol()).save(tmp_path)
    assert read_classes(tmp_path / "inference.json") == classes
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r'other\.json: not the .*"classes" must be a list'):
        read_classes(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line must be label,name,red,green,blue"),
        (b"name,label,red,green,blue\nsky,0,1,2,3\n", "the first line must be"),
        (b"label,name,red,green,blue\n1,sky,1,2,3\n", "the labels must be 0, 1, 2 and so on"),
        (b"label,name,red,green,blue\n0,sky,1,2\n", "int"),
        (b"label,name,red,green,blue\n0,sky,1,2,256\n", "Colours must be from 0 to 255"),
        (b"\xff\xd8", "utf-8"),
    ],
)
def test_another_file_is_refused(content, message, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: not the .*{message}"):
        read_classes(path)
