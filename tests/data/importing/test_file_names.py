"""Which files belong together: patterns, hidden files, two files of one name, other classes."""

import json

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import DataError, import_labels, load_dataset
from pdanet_tf.data.importing.yolo import read_names
from pdanet_tf.data.patterns import find_files
from tests.support.labelled import NAMES, label_map, write_labelled


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def take(source, out, format, **options):
    options = {"validation_share": 0, "progress": False, **options}
    return import_labels(source, out, format, **options)


def maps(report):
    found = {}
    for split in report.images:
        dataset = load_dataset("folder", split, report.folder)
        found |= {dataset.name(index): dataset.read(index)[1] for index in range(len(dataset))}
    return found


def test_folders_of_masks_that_are_not_among_the_class_names(tmp_path):
    source = write_labelled(tmp_path / "in", "masks")
    with pytest.raises(DataError, match=r"the classes 'tree', which are not among class_names"):
        take(source, tmp_path / "out", "masks", class_names=["background", "car", "road"])
    names = ["background", "road", "car"]
    report = take(source, tmp_path / "out", "masks", class_names=names, ignore=["tree"])
    assert report.classes.names == tuple(names)
    for scene, label in maps(report).items():
        np.testing.assert_array_equal(label, np.array([0, 1, 2, 255])[label_map(scene)])


def test_a_known_class_that_contains_the_separator(tmp_path):
    for name in ("a_side_road", "b_road", "c_my_tree", "d_1_sky"):
        (tmp_path / f"{name}.png").touch()

    def read(*classes):
        found = find_files(tmp_path, "annotation_pattern", "{name}_{class}.png", classes)
        return [(each.name, each.label) for each in found]

    assert read("road", "side_road", "my_tree") == [
        ("a", "side_road"),
        ("b", "road"),
        ("c", "my_tree"),
        ("d_1", "sky"),  # not known
    ]
    assert read()[0] == ("a_side", "road")


def test_images_beside_their_masks_are_no_masks(tmp_path):
    """The image `p_1` fits the pattern of the masks, but 1 is not a class."""
    save(tmp_path / "in" / "img" / "p_1.png", np.zeros((24, 32, 3), "uint8"))
    save(tmp_path / "in" / "img" / "p_road.png", (label_map("b3") == 1).astype("uint8") * 255)
    patterns = {"image_pattern": "{name}_1.png", "annotation_pattern": "{name}_{class}.png"}
    report = take(tmp_path / "in", tmp_path / "out", "masks", class_names=["road"], **patterns)
    np.testing.assert_array_equal(maps(report)["img_p"], label_map("b3") == 1)


def test_hidden_files_are_not_read(tmp_path):
    """What macOS adds: `._a1.png` beside a file, and `.DS_Store` in each folder."""
    for format in ("pairs", "masks", "yolo", "labelme"):
        source = write_labelled(tmp_path / format, format)
        for file in sorted(source.rglob("*.*")):
            if file.is_file():
                (file.parent / f"._{file.name}").write_bytes(b"\0\5\26\7")
        for folder in (source, *(path for path in source.rglob("*") if path.is_dir())):
            (folder / ".DS_Store").write_bytes(b"\0")
        trash = source / ".Trashes"
        trash.mkdir()
        (trash / "a1.json").write_text("{")
        names = None if format == "yolo" else NAMES
        report = take(source, tmp_path / f"{format}_out", format, class_names=names)
        assert report.images == {"train": 5}
        for scene, label in maps(report).items():
            np.testing.assert_array_equal(label, label_map(scene))


def test_a_hidden_file_does_not_hide_the_splits_of_yolo(tmp_path):
    source = write_labelled(tmp_path / "in", "yolo")
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (source / kind / split).mkdir()
        for file in [path for path in (source / kind).iterdir() if path.is_file()]:
            file.rename(source / kind / ("train" if file.name < "b" else "val") / file.name)
    for name in (".DS_Store", "._a1.png", "read.me", "list.csv"):
        (source / "images" / name).touch()
    assert take(source, tmp_path / "out", "yolo").images == {"train": 2, "validation": 3}


@pytest.mark.parametrize("format", ["pairs", "masks", "yolo"])
def test_two_images_or_masks_of_one_name(format, tmp_path):
    source = write_labelled(tmp_path / "in", format)
    image = source / "images" / "a1.png"
    image.with_suffix(".bmp").write_bytes(image.read_bytes())
    expected = [f"{image}: there is also a1.bmp of the same name"]
    if format == "masks":
        mask = source / "masks" / "road" / "a1.png"
        mask.with_suffix(".bmp").write_bytes(mask.read_bytes())
        expected.append(f"{mask}: there is also a1.bmp for the same image and class")
    with pytest.raises(DataError) as error:
        take(source, tmp_path / "out", format, class_names=None if format == "yolo" else NAMES)
    for text in expected:
        assert text in str(error.value)
    assert "has no annotation" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classes.txt", "road\n\ncar\ntree\n", "classes.txt: line 2 has no name"),
        ("classes.txt", "\n", "classes.txt: contains no name"),
        ("data.yaml", "names: [road, null, car]", "number 1 has no name"),
        ("data.yaml", "names: road", "`names` is 'road'"),
    ],
)
def test_missing_names_of_yolo(file, text, message, tmp_path):
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path)


def test_empty_lines_after_the_names_of_yolo(tmp_path):
    (tmp_path / "classes.txt").write_text("road\ncar\n\n \n")
    assert read_names(tmp_path) == ["road", "car"]


def test_the_official_layout_of_voc(tmp_path):
    """Most of its images have boxes alone: they are left out with a note."""
    source = write_labelled(tmp_path / "in", "voc")
    for scene in ("a1", "b2"):
        (source / "SegmentationClass" / f"{scene}.png").unlink()
    report = take(source, tmp_path / "out", "voc", class_names=NAMES)
    assert {*maps(report)} == {"a2", "b1", "b3"}
    assert [(each.kind, each.severity) for each in report.warnings] == [
        ("image without annotation", "note")
    ] * 2
    assert "the data set 'voc' reads its lists of splits" in report.summary()
    with pytest.raises(DataError, match="has no annotation"):
        take(
            source,
            tmp_path / "pairs",
            "pairs",
            class_names=NAMES,
            image_pattern="JPEGImages/{name}.png",
            annotation_pattern="SegmentationClass/{name}.png",
        )


def test_the_two_names_of_binary_masks(tmp_path):
    """The first is the class of the area outside the masks, whatever it is called."""
    source = write_labelled(tmp_path / "in", "binary")
    report = take(source, tmp_path / "out", "binary", class_names=["bg", "crack"])
    assert report.classes.names == ("bg", "crack")
    for scene, label in maps(report).items():
        np.testing.assert_array_equal(label, label_map(scene) > 0)
    options = {"class_names": ["bg", "crack"], "unlabelled": "ignore"}
    report = take(source, tmp_path / "out2", "binary", **options)
    np.testing.assert_array_equal(
        maps(report)["b3"], np.where(label_map("b3") > 0, 1, 255).astype("uint8")
    )


def test_the_subsets_of_a_cvat_project_become_splits(tmp_path):
    """The images of a subset are in a folder of its name; two may have the same name."""
    file = write_labelled(tmp_path / "in", "cvat")
    images = file.parent / "images"
    text = file.read_text()
    for scene in ("a1", "a2", "b1", "b2", "b3"):
        subset = "Train" if scene < "b" else "Validation"
        (images / subset).mkdir(exist_ok=True)
        (images / f"{scene}.png").rename(images / subset / f"{scene}.png")
        text = text.replace(f'name="{scene}.png"', f'name="{scene}.png" subset="{subset}"')
    (images / "Validation" / "b1.png").rename(images / "Validation" / "a1.png")
    file.write_text(text.replace("b1.png", "a1.png"))
    report = take(file, tmp_path / "out", "cvat")
    assert report.images == {"train": 2, "validation": 3}
    for split, scene in (("train", "a1"), ("validation", "b1")):
        dataset = load_dataset("folder", split, tmp_path / "out")
        assert dataset.name(0) == "a1"
        np.testing.assert_array_equal(dataset.read(0)[1], label_map(scene))


def test_the_default_subset_of_cvat_is_none(tmp_path):
    file = write_labelled(tmp_path / "in", "cvat")
    file.write_text(file.read_text().replace("<image ", '<image subset="default" '))
    (file.parent / "images").rename(file.parent / "default")
    (file.parent / "images").mkdir()
    (file.parent / "default").rename(file.parent / "images" / "default")
    report = take(file, tmp_path / "out", "cvat", validation_share=0.4)
    assert report.images == {"train": 3, "validation": 2}


def test_labelme_files_without_a_size(tmp_path):
    source = write_labelled(tmp_path / "in", "labelme")
    for scene, change in (("a1", None), ("a2", "pop")):
        content = json.loads((source / f"{scene}.json").read_text())
        for side in ("imageHeight", "imageWidth"):
            content[side] = None
            if change:
                del content[side]
        (source / f"{scene}.json").write_text(json.dumps(content))
    report = take(source, tmp_path / "out", "labelme", class_names=NAMES)
    np.testing.assert_array_equal(maps(report)["a1"], label_map("a1"))
    content["imageHeight"] = 24
    (source / "a2.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a2.json: states the height 24 and the width None"):
        take(source, tmp_path / "out2", "labelme")


@pytest.mark.parametrize(
    ("format", "file", "options"),
    [
        ("yolo", "classes.txt", {}),
        ("colors", "colors.csv", {"color_table": "colors.csv"}),
        ("binary", "list.txt", {"split_lists": "list.txt"}),
    ],
)
def test_text_files_that_are_not_utf8_are_named(format, file, options, tmp_path):
    source = write_labelled(tmp_path / "in", format)
    (source / "data.yaml").unlink(missing_ok=True)
    (source / file).write_bytes("Stra\xdfe\n".encode("latin-1"))
    options = {name: source / path for name, path in options.items()}
    if "split_lists" in options:
        options["split_lists"] = {"train": options["split_lists"]}
    with pytest.raises(DataError) as error:
        take(source, tmp_path / "out", format, **options)
    assert str(error.value).startswith(f"{source / file}: is not text in UTF-8: byte 5 ")
