"""Bad annotations: what was found, in which file and record; and nothing is written."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import import_labels, load_dataset
from tests.support.labelled import NAMES, label_map, write_labelled


def refused(tmp_path, source, format, **options):
    """Returns the message of an import that is refused."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the callers compare the message
        import_labels(source, tmp_path / "out", format, progress=False, **options)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    return str(error.value)


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


MASK_2X2 = encoded(Image.new("L", (2, 2), 255))


@pytest.fixture
def coco(tmp_path):
    file = write_labelled(tmp_path / "in", "coco")
    content = json.loads(file.read_text())

    def change(function):
        function(content)
        file.write_text(json.dumps(content))
        return file

    return change


def first(content):
    return content["annotations"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: first(c).update(image_id=99), "annotation 1: belongs to the image 99, which"),
        (lambda c: first(c).update(image_id=[1]), r"annotation 1: belongs to the image \[1\]"),
        (lambda c: first(c).update(category_id=7), "annotation 1: has the category 7, which"),
        (lambda c: first(c).pop("category_id"), "annotation 1: has no 'category_id'"),
        (lambda c: first(c).update(segmentation=[[1, 2, 3, 4]]), "annotation 1: has 2 points"),
        (lambda c: first(c).update(segmentation=[]), "annotation 1: has no segmentation"),
        (lambda c: first(c).update(segmentation=[[1, 2, None]]), "annotation 1: .*not a number"),
        (
            lambda c: first(c).update(segmentation={"size": [9, 9], "counts": [81]}),
            r"annotation 1: has run lengths of 9 x 9, its image has 24 x 32",
        ),
        (
            lambda c: first(c).update(segmentation={"size": [24, 32], "counts": [81]}),
            "annotation 1: has run lengths of 81 pixels, but a mask of 24 x 32 .* has 768",
        ),
        (
            lambda c: first(c).update(segmentation=[[50, 60, 70, 60, 70, 80]]),
            r"annotation 1: is outside the image: it reaches from \(60, 50\) to \(80, 70\)",
        ),
        (lambda c: c["images"][0].update(file_name="no.png"), "image 10: names .*'no.png'"),
        (lambda c: c["images"][0].update(file_name="../in/a.png"), "image 10: .*not inside"),
        (lambda c: c["images"][3].update(width=33), r"b2.png: the image is 24 x 32 .* 24 x 33"),
        (lambda c: c["images"][0].update(width="wide"), "image 10: states the height 24 and"),
        (lambda c: c["images"][1].update(id=10), "image 10: another image has this id"),
        (
            lambda c: c["images"][1].update(file_name="a1.png"),
            r"annotates .*a1.png, which .*instances.json annotates, too",
        ),
        (lambda c: c["categories"][0].pop("name"), "category 10: expected an id and a name"),
        (
            lambda c: c["categories"][0].update(id=5),
            "category 5: another category has this id, 'car'; this is 'road'",
        ),
        (
            lambda c: [each.update(id="x" * i) for i, each in enumerate(c["categories"])],
            "annotation 1: has the category 10, which is not in the file",
        ),
        (
            lambda c: first(c).update(
                segmentation={"size": [24, 32], "counts": [2**62, 2**62, 2**62, 2**62 + 768]}
            ),
            "annotation 1: has run lengths of 18,446,744,073,709,552,384 pixels, but a mask of",
        ),
        (lambda c: c.pop("categories"), "has no list 'categories' of objects"),
    ],
)
def test_bad_coco_files(coco, change, message, tmp_path):
    found = refused(tmp_path, coco(change), "coco", images=tmp_path / "in" / "images")
    assert re.search(message, found), found
    assert "instances.json" in found or "b2.png" in found


def test_many_bad_records_are_counted(coco, tmp_path):
    def change(content):
        content["annotations"] *= 3
        for row in content["annotations"]:
            row["segmentation"] = [[1, 2, 3, 4]]

    found = refused(tmp_path, coco(change), "coco", images=tmp_path / "in" / "images")
    assert "bad record (27):" in found
    assert "... and 22 more" in found


def test_bad_records_can_be_left_out(coco, tmp_path):
    file = coco(lambda content: first(content).update(category_id=7))
    images = tmp_path / "in" / "images"
    report = import_labels(
        file, tmp_path / "out", "coco", images=images, skip_bad=True, progress=False
    )
    assert sum(report.images.values()) == 5
    assert "has the category 7" in report.summary()
    assert [problem.severity for problem in report.warnings] == ["warning"]


def test_truncated_json(tmp_path):
    file = write_labelled(tmp_path / "in", "coco")
    file.write_text(file.read_text()[:200])
    found = refused(tmp_path, file, "coco")
    assert found.startswith(f"{file}: not JSON in UTF-8: ")
    file = write_labelled(tmp_path / "labelme", "labelme") / "a1.json"
    file.write_text(file.read_text()[:50])
    assert refused(tmp_path, file.parent, "labelme").startswith(f"{file}: not JSON")


def test_crowds_are_ignored_and_lie_below(coco, tmp_path):
    """The road of a1 becomes a crowd; the car on it keeps its class."""

    def change(content):
        road = next(row for row in content["annotations"] if row["category_id"] == 5)
        assert road["image_id"] == 10
        road["iscrowd"] = 1

    file = coco(change)
    for ignore, value in ((True, 255), (False, 1)):
        report = import_labels(
            file,
            tmp_path / f"out_{ignore}",
            "coco",
            images=tmp_path / "in" / "images",
            ignore_crowds=ignore,
            validation_share=0,
            progress=False,
        )
        assert [problem.severity for problem in report.warnings] == ["note"] * ignore
        assert ("set ignore_crowds=False" in report.summary()) == ignore
        _, label = load_dataset("folder", "train", tmp_path / f"out_{ignore}").read(0)
        np.testing.assert_array_equal(label, np.array([0, value, 2])[label_map("a1")])


def test_a_crowd_that_is_kept_covers_larger_shapes(coco, tmp_path):
    """The car of a1, smaller than the road below it, is stored as a crowd, as CVAT does it."""

    def change(content):
        assert first(content)["category_id"] == 10
        first(content)["iscrowd"] = 1

    file = coco(change)
    labels = {}
    for ignore in (True, False):
        out = tmp_path / f"out_{ignore}"
        options = {"images": tmp_path / "in" / "images", "ignore_crowds": ignore}
        import_labels(file, out, "coco", validation_share=0, progress=False, **options)
        labels[ignore] = load_dataset("folder", "train", out).read(0)[1]
    scene = label_map("a1")
    assert (scene[12:] == 2).any()
    np.testing.assert_array_equal(labels[False], scene)
    below = np.where(scene == 2, 255, scene)
    below[12:] = 1  # the road, which covers an ignored crowd
    np.testing.assert_array_equal(labels[True], below)


def test_order_of_overlapping_shapes(tmp_path):
    """LabelMe's later shapes cover earlier ones, unless larger ones shall be drawn first."""
    source = write_labelled(tmp_path / "in", "labelme")
    content = json.loads((source / "a1.json").read_text())
    content["shapes"].reverse()
    (source / "a1.json").write_text(json.dumps(content))
    for overlap, covered in ((None, True), ("larger-first", False)):
        out = tmp_path / f"out_{overlap}"
        options = {"class_names": NAMES, "validation_share": 0, "progress": False}
        import_labels(source, out, "labelme", overlap=overlap, **options)
        _, label = load_dataset("folder", "train", out).read(0)
        assert (label[12:18] == 1).all() == covered


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape_type": "point", "points": [[1, 1]]}, "shape 1: is a point, which has no area"),
        ({"shape_type": "star"}, "shape 1: has the unknown shape_type 'star'"),
        ({"shape_type": "circle"}, "shape 1: is a circle of 4 points, not 2"),
        ({"points": [[1, 2], [3, 4]]}, "shape 1: has 2 points"),
        ({"points": None}, "shape 1: "),
        (
            {"shape_type": "mask", "points": [[1, 1], [8, 8]], "mask": MASK_2X2},
            "shape 1: has a mask of 2 x 2 (height x width), whose points span 8 x 8",
        ),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "iVBORw0KGgo="},
            "shape 1: has a mask that cannot be read",
        ),
    ],
)
def test_bad_labelme_shapes(change, message, tmp_path):
    source = write_labelled(tmp_path / "in", "labelme")
    content = json.loads((source / "a1.json").read_text())
    content["shapes"][0] |= change
    (source / "a1.json").write_text(json.dumps(content))
    assert f"{source / 'a1.json'}: {message}" in refused(tmp_path, source, "labelme")


def test_images_inside_labelme_files_that_cannot_be_read(tmp_path):
    """All of them are named, and they can be left out."""
    source = write_labelled(tmp_path / "in", "labelme")
    for scene in ("a1", "b1"):
        content = json.loads((source / f"{scene}.json").read_text())
        content["imageData"] = "bm90IGFuIGltYWdl"
        (source / f"{scene}.json").write_text(json.dumps(content))
    found = refused(tmp_path, source, "labelme")
    assert str(source / "a1.json") in found
    assert str(source / "b1.json") in found
    report = import_labels(source, tmp_path / "out", "labelme", skip_bad=True, progress=False)
    assert sum(report.images.values()) == 3
    assert len(report.warnings) == 2


def test_classes_that_are_not_expected(tmp_path):
    source = write_labelled(tmp_path / "in", "labelme")
    found = refused(tmp_path, source, "labelme", class_names=["road", "cars"])
    assert "'car' (did you mean 'cars'?), 'tree'" in found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1 0.1", "a1.txt: line 1: is a box (5 values), not a polygon"),
        ("3 0 0 1 0 1 1", "a1.txt: line 1: has the class 3, there are 3 names"),
        ("0 0 0 1 0 1 1 1", "a1.txt: line 1: has 7 coordinates, an odd number"),
        ("road 0 0 1 0 1 1", "a1.txt: line 1: could not convert"),
        ("0 4 10 13 10 15 17", "a1.txt: line 1: has coordinates that are not shares of the width"),
        ("0 0 0 1 0 1 -3", "from 0 to 1: -3"),
    ],
)
def test_bad_yolo_lines(line, message, tmp_path):
    source = write_labelled(tmp_path / "in", "yolo")
    (source / "labels" / "a1.txt").write_text(line)
    assert message in refused(tmp_path, source, "yolo")


def test_names_of_yolo(tmp_path):
    source = write_labelled(tmp_path / "in", "yolo")
    (source / "data.yaml").write_text("names: {0: road, 2: car}")
    assert "data.yaml: the names cannot be read: the numbers are 0, 2" in refused(
        tmp_path, source, "yolo"
    )
    (source / "data.yaml").unlink()
    assert "contains none of data.yaml" in refused(tmp_path, source, "yolo")
    (source / "classes.txt").write_text("road\ncar\ntree\n")
    import_labels(source, tmp_path / "out", "yolo", progress=False)


@pytest.mark.parametrize(
    ("former", "new", "message"),
    [
        ("<annotations>", "<!DOCTYPE x [<!ENTITY a 'b'>]><annotations>", r"a document type \(x\)"),
        ("</annotations>", "", "is not XML: no element found"),
        ("<annotations>", "<annotations><version>1.1</version><image/>", "image 0|has no|states"),
        ('"4.00,10.00;', '"4.00;', "image a1.png, polygon 1: has 7 coordinates"),
        ('rle="', 'rle="5, ', "run lengths of 149 pixels, but a mask of 12 x 12"),
        ("<polygon", '<polyline label="car"/><polygon', "polyline 1: is a polyline, which has no"),
        ("<box", '<box rotation="3"', "box 1: is a rotated box, which is not read"),
        ('xtl="18"', 'xtl="nan"', "box 1: has the coordinate nan"),
        ('rle="', 'rle="1e300, ', "mask 2: has a value of another kind than expected"),
        ('height="12"', 'height="25"', r"is a mask of 25 x 12 .* in an image of 24 x 32"),
    ],
)
def test_bad_cvat_files(former, new, message, tmp_path):
    file = write_labelled(tmp_path / "in", "cvat")
    text = file.read_text()
    assert former in text
    file.write_text(text.replace(former, new, 1))
    found = refused(tmp_path, file, "cvat")
    assert re.search(message, found), found


def test_unknown_colours_are_counted(tmp_path):
    source = write_labelled(tmp_path / "in", "colors")
    image = Image.open(source / "masks" / "a1.png")
    image.putpixel((3, 4), (1, 2, 3))
    image.putpixel((4, 4), (1, 2, 3))
    image.putpixel((5, 4), (9, 9, 9))
    image.save(source / "masks" / "a1.png")
    found = refused(tmp_path, source, "colors", color_table=source / "colors.csv")
    assert "a1.png: contains colours that" in found
    assert "(1, 2, 3) in 2 pixels, (9, 9, 9) in 1 pixels" in found


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("0 0 0 sky\n0 0 0 road\n", "gives the colour 0, 0, 0 to 'sky' and to 'road'"),
        ("name,red,green\nsky,0,0\n", "cannot be read as a table of colours"),
        ("sky\n", "line 1 is 'sky'"),
        ("", "contains no colour"),
        ("300 0 0 sky", "0 to 255"),
    ],
)
def test_bad_tables_of_colours(table, message, tmp_path):
    source = write_labelled(tmp_path / "in", "colors")
    (source / "colors.csv").write_text(table)
    found = refused(tmp_path, source, "colors", color_table=source / "colors.csv")
    assert message in found


@pytest.mark.parametrize(
    "table",
    [
        "0 0 0 background\n128 64 128\troad\n0 0 142 car\n107 142 35 tree\n",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
        "tree:107,142,35::\n",
        "name,color\nbackground,#000000\nroad,#804080\ncar,#00008e\ntree,#6b8e23\n",
        "# a comment\ncolor,name\n#000000,background\n#804080,road\n#00008e,car\n#6b8e23,tree\n",
    ],
)
def test_tables_of_other_tools(table, tmp_path):
    source = write_labelled(tmp_path / "in", "colors")
    (source / "colors.csv").write_text(table)
    report = import_labels(
        source, tmp_path / "out", "colors", color_table=source / "colors.csv", progress=False
    )
    assert report.classes.names == NAMES
    assert report.classes.colors[1] == (128, 64, 128)


def test_masks_that_are_not_binary_and_values_without_class(tmp_path):
    source = write_labelled(tmp_path / "in", "binary")
    image = Image.open(source / "masks" / "a1.png")
    image.putpixel((3, 4), 17)
    image.save(source / "masks" / "a1.png")
    found = refused(tmp_path, source, "binary")
    assert "a1.png: contains the values 17 in 1 pixels, beside 0" in found
    found = refused(tmp_path, source, "pairs", class_names=["sky", "road"])
    assert "a1.png: contains the values 17; the 2 classes have 0 to 1" in found


def test_files_without_partner_and_two_annotations_of_one_image(tmp_path):
    source = write_labelled(tmp_path / "in", "binary")
    (source / "masks" / "a1.png").rename(source / "masks" / "z.png")
    (source / "masks" / "b1.bmp").write_bytes((source / "masks" / "b1.png").read_bytes())
    found = refused(tmp_path, source, "binary")
    for part in ("a1.png: has no annotation", "z.png: has no image", "there is also b1.bmp"):
        assert part in found


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("cocos", {}, "did you mean 'coco'"),
        ("labelm", {}, "did you mean 'labelme'"),
        ("coco", {"color_table": "x"}, "'coco' does not take color_table; it takes images"),
        ("coco", {"ignore_label": 0}, "'coco' does not take ignore_label"),
        ("yolo", {"label_offset": 0}, "'yolo' does not take label_offset"),
        ("masks", {"overlap": "file-order"}, "'masks' does not take overlap"),
        ("binary", {"ignore_crowds": False}, "'binary' does not take ignore_crowds"),
        ("pairs", {"unlabelled": "ignore"}, "'pairs' does not take unlabelled"),
        ("voc", {"unlabelled": "ignore"}, "'voc' does not take unlabelled"),
        ("colors", {"unlabelled": "ignore"}, "'colors' does not take unlabelled"),
        ("pairs", {}, "requires class_names"),
        ("colors", {}, "requires color_table"),
        ("binary", {"class_names": ["a", "b", "c"]}, "Received: 3 names"),
        ("binary", {"unlabelled": "backgrund"}, "did you mean 'background'"),
        ("coco", {"overlap": "large"}, "overlap must be one of larger-first, file-order"),
        ("coco", {"validation_share": 1}, "from 0 to below 1"),
        ("coco", {}, "expected a file"),
        ("yolo", {"image_pattern": "{nam}.png"}, r"no field 'nam' \(did you mean 'name'\?\)"),
        ("binary", {"image_pattern": "img/{name}.png"}, "contains no file that fits image_patt"),
        ("masks", {"annotation_pattern": "{name}.png"}, "must contain {class}"),
    ],
)
def test_wrong_options(format, options, message, tmp_path):
    source = write_labelled(tmp_path / "in", format if format in ("yolo", "masks") else "binary")
    found = refused(tmp_path, source, format, **options)
    assert re.search(message, found), found


def test_splits_that_cannot_be(tmp_path):
    source = write_labelled(tmp_path / "in", "binary")
    (tmp_path / "none.txt").write_text("\n")
    lists = {"train": tmp_path / "none.txt"}
    assert "contain no image" in refused(tmp_path, source, "binary", split_lists=lists)
    lists = {"../train": tmp_path / "none.txt"}
    assert "must be one word" in refused(tmp_path, source, "binary", split_lists=lists)
    assert "must be one word" in refused(tmp_path, {"a/b": source}, "binary")
    (tmp_path / "none.txt").write_text("a1\n")
    lists = {"train": tmp_path / "none.txt"}
    found = refused(tmp_path, source, "binary", split_lists=lists, group_pattern="^.")
    assert "split_lists or group_pattern, not both" in found


def test_an_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "out").mkdir()
    source = write_labelled(tmp_path / "in", "binary")
    with pytest.raises(FileExistsError, match="already exists"):
        import_labels(source, tmp_path / "out", "binary", progress=False)
