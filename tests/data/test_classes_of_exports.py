"""The file of an export that holds its classes."""

import re

import pytest

from pdanet_tf.data.class_table import CLASSES_FILE, read_classes, write_class_table
from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings


def test_classes_are_read_as_an_export_writes_them(tmp_path):
    classes = Classes(("sky", 'a "wall", grey', "Straße"), ((0, 1, 2), (3, 4, 255), (9, 9, 9)))
    write_class_table(tmp_path / CLASSES_FILE, classes)
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
        (b"", "there is no column called name"),
        (b"label,name,red,green,blue\n1,sky,1,2,3\n", "the labels must begin at 0, not at 1"),
        (b"label,name,red,green,blue\n0,sky,1,2\n", "a line has more or fewer values"),
        (b"label,name,red,green,blue\n0,sky,1,2,256\n", "red, green and blue from 0 to 255"),
        (b"\xff\xd8", "utf-8"),
    ],
)
def test_another_file_is_refused(content, message, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: not the .*{message}"):
        read_classes(path)
