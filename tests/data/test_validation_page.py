"""The validation of a data set as one HTML page."""

import re

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.cli import main
from pdanet_tf.data import Classes, FolderDataset, load_dataset
from pdanet_tf.data.validation.page import write_page
from pdanet_tf.data.validation.report import validate_dataset
from tests.support.folders import write_folder
from tests.support.html_pages import Tags, images


@pytest.fixture
def splits(tmp_path):
    root = write_folder(tmp_path / "data", size=(40, 60))
    classes = Classes(
        ("<script>alert(1)</script>", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 9))
    )
    (root / "images" / "train" / "scene_1.jpg").write_bytes(b"broken")
    return {
        split: FolderDataset(root, split, classes, strict=False)
        for split in ("train", "validation")
    }


def test_one_file_without_network_and_scripts(splits, tmp_path):
    report = validate_dataset(splits, progress=False)
    write_page(tmp_path / "report.html", report, splits)
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Tags(text)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|url\(", text)
    assert "default-src 'none'" in text
    assert "<script>alert(1)</script>" in page.text
    assert "scene_1.jpg" in page.text
    assert "not an image that can be read" in page.text
    assert f"{100 * report.splits['train'].shares[1]:.3f}%" in page.text
    assert "40 x 60" in page.text
    assert len(text) < 300_000


def test_examples_show_the_class_in_its_colour(splits, tmp_path):
    report = validate_dataset(splits, progress=False)
    label = 1
    for split, dataset in splits.items():
        found = report.splits[split].examples[label]
        counts = []
        for index in range(len(dataset)):
            if (split, index) != ("train", 1):  # the broken image
                counts.append(((dataset.read_label_map(index) == label).sum(), index))
        expected = sorted(counts, key=lambda pair: (-pair[0], pair[1]))[:3]
        assert found == [pair for pair in expected if pair[0]]
    write_page(tmp_path / "report.html", report, {"validation": splits["validation"]})
    # With one split the first examples are those of class 0: three images of the validation.
    shown = list(images(Tags((tmp_path / "report.html").read_text("utf-8"))))
    _, index = report.splits["validation"].examples[0][0]
    image, labels = splits["validation"].read(index)
    inside = labels == 0
    found = shown[-9 if len(shown) >= 9 else 0].astype(float)
    assert found.shape == (40, 60, 3)
    assert abs(found[inside, 0].mean() - (0.5 * image[inside, 0].mean() + 127.5)) < 12
    assert abs(found[~inside].mean() - 0.35 * image[~inside].mean()) < 12


def test_the_option(tmp_path, capsys):
    root = write_folder(tmp_path / "data", size=(40, 60))
    arguments = ["validate-data", "--dataset", "folder", "--data-dir", str(root)]
    arguments += ["--num-classes", "3"]
    assert main([*arguments, "--report", str(tmp_path / "report.html")]) == 0
    assert "<h2>Examples</h2>" in (tmp_path / "report.html").read_text("utf-8")
    assert main([*arguments, "--report", str(tmp_path / "report.pdf")]) == 1
    assert "expected an HTML file" in capsys.readouterr().err


def write_layout(root, dataset):
    """Writes two images of a data set, whose annotations hold road and, in one, a wrong value."""
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype("uint8")
    layouts = {
        "ade20k": ("images/training/{}.jpg", "annotations/training/{}.png", 7),
        "cityscapes": (
            "leftImg8bit/train/aachen/{}_leftImg8bit.png",
            "gtFine/train/aachen/{}_gtFine_labelIds.png",
            7,
        ),
        "camvid": ("train/{}.png", "trainannot/{}.png", 3),
    }
    *paths, road = layouts[dataset]
    for name in ("a", "b"):
        label = np.full((40, 48), road, "uint8")
        label[:, 24:] = 200 if name == "a" else road
        for path, array in zip(paths, (image, label), strict=True):
            file = root / path.format(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file)
    return load_dataset(dataset, "train", root, strict=False)


@pytest.mark.parametrize("name", ["ade20k", "cityscapes", "camvid"])
def test_annotations_are_shown_in_the_colours_of_their_classes(name, tmp_path):
    """Also if their values are not the classes; the wrong value is white."""
    dataset = write_layout(tmp_path, name)
    splits = {"train": dataset}
    report = validate_dataset(splits, progress=False)
    assert report.problems[0].kind == "labels out of range"
    write_page(tmp_path / "report.html", report, splits)
    annotation, *_ = images(Tags((tmp_path / "report.html").read_text("utf-8")))
    color = dataset.classes.colors[dataset.classes.names.index("road")]
    assert np.abs(annotation[:, :20].mean((0, 1)) - color).max() < 4
    assert annotation[:, 28:].mean() > 250
