"""One set of labels in each format becomes the same label maps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.base.choices import LABEL_FORMATS
from pdanet_tf.data import import_labels, load_dataset
from tests.support.labelled import COLORS, NAMES, SCENES, label_map, write_images, write_labelled

OPTIONS = {
    "coco": {"images": "images"},
    "cvat": {},
    "labelme": {},
    "yolo": {},
    "voc": {"class_names": NAMES},
    "colors": {"color_table": "colors.csv"},
    "binary": {},
    "masks": {},
    "pairs": {"class_names": NAMES},
}


def imported(tmp_path, format, **options):
    root = tmp_path / format
    source = write_labelled(root, format)
    options = {**OPTIONS[format], "class_names": NAMES, **options}
    for name in ("images", "color_table"):
        if name in options:
            options[name] = root / options[name]
    if format == "binary":
        options["class_names"] = None
    report = import_labels(source, tmp_path / "out", format, progress=False, **options)
    return report, load_splits(tmp_path / "out", report)


def load_splits(folder, report):
    maps = {}
    for split in report.images:
        dataset = load_dataset("folder", split, folder)
        assert dataset.classes == report.classes
        dataset.check()
        for index in range(len(dataset)):
            image, label = dataset.read(index)
            maps[dataset.name(index)] = image, label
    return maps


def test_every_format_is_tested():
    assert {*OPTIONS} == {*LABEL_FORMATS}


@pytest.mark.parametrize("format", LABEL_FORMATS)
def test_the_same_label_maps_from_each_format(format, tmp_path):
    report, maps = imported(tmp_path, format)
    assert {*maps} == {*SCENES}
    assert sum(report.images.values()) == len(SCENES)
    assert not report.warnings
    for scene, (image, label) in maps.items():
        expected = label_map(scene)
        if format == "binary":
            expected = (expected > 0).astype("uint8")
        np.testing.assert_array_equal(label, expected, err_msg=scene)
        assert image.shape == (24, 32, 3)
    names = ("background", "foreground") if format == "binary" else NAMES
    assert report.classes.names == names
    if format in ("colors", "cvat"):  # they store colours
        assert report.classes.colors[1:] == COLORS[1:]
    assert not report.validation.fatal


def test_classes_of_the_source(tmp_path):
    """COCO's are in the order of the ids, LabelMe's in that of the alphabet."""
    report, _ = imported(tmp_path / "1", "coco", class_names=None)
    assert report.classes.names == NAMES
    report, maps = imported(tmp_path / "2", "labelme", class_names=None)
    assert report.classes.names == ("background", "car", "road", "tree")
    assert (maps["a1"][1][label_map("a1") == 1] == 2).all()
    rows = (tmp_path / "2" / "out" / "classes.csv").read_text().splitlines()
    assert rows[:2] == ["label,name,red,green,blue", "0,background,230,159,0"]


def test_unlabelled_area_and_ignored_classes_become_void(tmp_path):
    report, maps = imported(
        tmp_path, "yolo", class_names=["car", "road"], unlabelled="ignore", ignore=["tree"]
    )
    assert report.classes.names == ("car", "road")
    expected = np.array([255, 1, 0, 255])[label_map("b3")]
    np.testing.assert_array_equal(maps["b3"][1], expected)


def test_masks_by_suffix_and_nested_folders(tmp_path):
    scene = label_map("b3")
    for place, name in (("one/x", "p_1"), ("two", "q")):
        folder = tmp_path / "in" / place
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((24, 32, 3), "uint8")).save(folder / f"{name}.jpg")
        for index, label in ((1, "road_side"), (2, "car")):
            mask = Image.fromarray((scene == index).astype("uint8") * 255)
            mask.save(folder / f"{name}_{label}.png")
    report = import_labels(
        tmp_path / "in",
        tmp_path / "out",
        "masks",
        image_pattern="{name}.jpg",
        annotation_pattern="{name}_{class}.png",
        class_names=["car", "road_side"],
        progress=False,
    )
    maps = load_splits(tmp_path / "out", report)
    assert {*maps} == {"one_x_p_1", "two_q"}
    np.testing.assert_array_equal(maps["two_q"][1], np.array([0, 2, 1, 0])[scene])


@pytest.mark.parametrize(
    "file", ["coco_polygons.json", "coco_masks.json", "cvat_polygons.xml", "cvat_masks.xml"]
)
def test_files_that_datumaro_wrote(file, tmp_path):
    write_images(tmp_path / "images")
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".jpg"))
    report = import_labels(
        Path(__file__).parents[2] / "golden" / "datumaro" / file,
        tmp_path / "out",
        file.partition("_")[0],
        images=tmp_path / "images",
        ignore_crowds=False,
        progress=False,
    )
    assert report.classes.names == NAMES
    maps = load_splits(tmp_path / "out", report)
    assert {*maps} == {*SCENES}
    for scene, (_, label) in maps.items():
        np.testing.assert_array_equal(label, label_map(scene), err_msg=scene)


def test_splits_of_the_source_are_kept(tmp_path):
    for split, scene in (("train", "a1"), ("val", "b3")):
        for kind, array in (("img", np.zeros((24, 32, 3), "uint8")), ("mask", label_map(scene))):
            folder = tmp_path / "in" / split / kind
            folder.mkdir(parents=True)
            end = "_mask.png" if kind == "mask" else ".png"
            Image.fromarray(array).save(folder / f"same{end}")
    report = import_labels(
        tmp_path / "in",
        tmp_path / "out",
        "pairs",
        image_pattern="{split}/img/{name}.png",
        annotation_pattern="{split}/mask/{name}_mask.png",
        class_names=NAMES,
        progress=False,
    )
    assert report.images == {"train": 1, "validation": 1}
    _, label = load_dataset("folder", "validation", tmp_path / "out").read(0)
    np.testing.assert_array_equal(label, label_map("b3"))


def test_a_source_for_each_split(tmp_path):
    train = write_labelled(tmp_path / "a", "labelme")
    report = import_labels(
        {"train": train, "test": train / "a1.json"}, tmp_path / "out", "labelme", progress=False
    )
    assert report.images == {"train": 5, "test": 1}


def test_masks_of_another_size_by_the_nearest_pixel_on_request(tmp_path):
    label = label_map("b3")
    for kind, array in (
        ("images", np.zeros((24, 32, 3), "uint8")),
        ("masks", label.repeat(2, 0).repeat(2, 1)),
    ):
        (tmp_path / kind).mkdir()
        Image.fromarray(array).save(tmp_path / kind / "x.png")
    options = {"class_names": NAMES, "validation_share": 0, "progress": False}
    with pytest.raises(ValueError, match=r"24 x 32 .*48 x 64.*resize_masks=True"):
        import_labels(tmp_path, tmp_path / "out", "pairs", **options)
    assert not (tmp_path / "out").exists()
    import_labels(tmp_path, tmp_path / "out", "pairs", resize_masks=True, **options)
    _, found = load_dataset("folder", "train", tmp_path / "out").read(0)
    np.testing.assert_array_equal(found, label)


def test_images_can_be_hard_links(tmp_path):
    imported(tmp_path, "yolo", link=True)
    source = (tmp_path / "yolo" / "images" / "a1.png").stat()
    assert source.st_nlink == 2
