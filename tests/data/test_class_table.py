"""`classes.csv` of a folder."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import Classes, DataError, load_dataset
from pdanet_tf.data.class_table import parse_class_table, read_class_table, write_class_table

CLASSES = Classes(('road, "paved"', "Bäume"), ((1, 2, 3), (255, 0, 9)))


def test_what_is_written_is_read(tmp_path):
    write_class_table(tmp_path / "classes.csv", CLASSES)
    assert read_class_table(tmp_path / "classes.csv") == (CLASSES, 0)


def test_other_columns_and_labels_from_1():
    classes, first = parse_class_table("name,label\r\nsky,1\r\nroad,2\r\n")
    assert (classes, first) == (Classes.named(["sky", "road"]), 1)
    assert parse_class_table("name\nsky\n") == (Classes.named(["sky"]), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column called name"),
        ("label\n1\n", "no column called name"),
        ("label,name\n0,a\n2,b\n", "the labels are 0, 2"),
        ("label,name\nx,a\n", "invalid literal"),
        ("label,name\n0,a,b\n", "more or fewer values"),
        ("name,red,green,blue\na,1,2,256\n", "0 to 255"),
        ("name\na\na\n", "must differ"),
    ],
)
def test_bad_files(text, message, tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_class_table(file)
    assert str(error.value).startswith(f"{file}: cannot be read: ")


@pytest.fixture
def folder(tmp_path):
    for kind, array in (("images", np.zeros((4, 4, 3))), ("annotations", np.eye(4) + 1)):
        path = tmp_path / kind / "train" / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(array.astype("uint8")).save(path)
    (tmp_path / "classes.csv").write_text("label,name\n1,sky\n2,road\n")
    return tmp_path


def test_a_folder_with_the_file_needs_no_names(folder):
    dataset = load_dataset("folder", "train", folder)
    assert dataset.classes.names == ("sky", "road")
    assert dataset.read(0)[1].tolist() == np.eye(4).tolist()
    colored = load_dataset("folder", "train", folder, class_colors=["#000000", "#ffffff"])
    assert colored.classes.colors == ((0, 0, 0), (255, 255, 255))


def test_given_names_are_used_instead(folder):
    dataset = load_dataset("folder", "train", folder, class_names=("a", "b", "c"))
    assert dataset.classes.names == ("a", "b", "c")
    assert dataset.label_offset == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 3}, r"num_classes=3 does not match .*classes.csv, which has 2 classes"),
        ({"label_offset": 2}, r"label_offset=2 does not match .* first label is 1"),
    ],
)
def test_options_that_contradict_the_file(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("folder", "train", folder, **options)
