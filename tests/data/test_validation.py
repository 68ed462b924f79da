"""What `pdanet-tf validate-data` finds: every defect, with its file and severity."""

import io
import json
import os
import re
import shutil

import numpy as np
import pytest
import rich.console
from PIL import Image

from pdanet_tf import cli
from pdanet_tf.data import Classes, DataError, FolderDataset, SegmentationDataset, load_dataset
from pdanet_tf.data.validation.report import validate_dataset
from pdanet_tf.data.validation.split import check_split

SIX = Classes.named(("a", "b", "c", "d", "[bold]", "f"))
SIZE = (40, 48)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


def paint(root, name, array, split="train"):
    Image.fromarray(array).save(root / "annotations" / split / f"{name}.png")


def validate(root, classes=SIX, **options):
    splits = {
        split: FolderDataset(root, split, classes, strict=False, **options)
        for split in ("train", "validation")
    }
    return validate_dataset(splits, progress=False)


def found(report, *kinds):
    return [problem for problem in report.problems if problem.kind in kinds]


@pytest.fixture
def broken(make_folder):
    """A folder with every kind of defect, and the problems that it must report."""
    root = make_folder(count=26, size=SIZE, highest=4)
    images, labels = root / "images" / "train", root / "annotations" / "train"

    def image(index, ending="jpg"):
        return images / f"scene_{index}.{ending}"

    def label(index):
        return labels / f"scene_{index}.png"

    # What looks like a photograph, so that cutting it does not leave the header only.
    Image.fromarray(noise(*SIZE)).save(image(0), quality=95)
    image(0).write_bytes(image(0).read_bytes()[:-400])
    image(1).write_text("no image")
    paint(root, "scene_2", noise(*SIZE)[..., 0] % 5)
    label(2).write_bytes(label(2).read_bytes()[:-300])
    paint(root, "scene_3", noise(*SIZE))
    with_palette = Image.open(label(4))
    with_palette.putpalette([0, 0, 0, 200, 0, 0])
    with_palette.save(label(4))
    paint(root, "scene_5", np.zeros((40, 47), "uint8"))
    Image.fromarray(noise(*SIZE, seed=6)).save(image(6), exif=turned(6))
    paint(root, "scene_6", np.zeros(SIZE[::-1], "uint8"))
    paint(root, "scene_7", np.resize(np.array((0, 6, 7), "uint8"), SIZE))
    paint(root, "scene_8", np.resize(np.array((0, 255), "uint8"), SIZE))
    label(9).unlink()
    image(10).unlink()
    Image.fromarray(noise(*SIZE, seed=11)).save(image(11, "png"))
    Image.open(image(12)).convert("L").save(image(12))
    Image.open(image(13)).convert("CMYK").save(image(13))
    Image.open(image(14)).convert("RGBA").save(image(14, "png"))
    image(14).unlink()
    paint(root, "scene_15", np.full(SIZE, 255, "uint8"))
    # The same pixels in another format, so in other bytes.
    Image.open(image(16)).save(image(17, "png"))
    image(17).unlink()
    shutil.copy(label(16), label(17))
    shutil.copy(image(16), image(18))
    for index, size in ((19, (8, 40)), (20, (32, 400))):
        Image.fromarray(noise(*size, seed=index)).save(image(index))
        paint(root, f"scene_{index}", np.zeros(size, "uint8"))
    Image.fromarray(noise(*SIZE, seed=21)).save(image(21), exif=turned(3))
    Image.fromarray(noise(*SIZE, seed=22)).save(image(22))
    content = image(22).read_bytes()
    image(22).write_bytes(content[: len(content) // 2] + b"\xff\xd9")
    for kind, ending in (("images", "jpg"), ("annotations", "png")):
        shutil.copy(
            root / kind / "train" / f"scene_23.{ending}",
            root / kind / "validation" / f"scene_3.{ending}",
        )
    Image.new("P", SIZE[::-1]).save(image(24, "png"), transparency=0)
    image(24).unlink()
    # Turned to its side together with its annotation: nothing is wrong.
    Image.fromarray(noise(*SIZE, seed=25)).save(image(25), exif=turned(6))
    return root, {
        ("fatal", "unreadable image", image(0), "truncated"),
        ("fatal", "not an image", image(1), "not an image that can be read"),
        ("fatal", "unreadable annotation", label(2), "cannot be read"),
        ("fatal", "colour-coded annotation", label(3), "3 channels, mode RGB"),
        ("warning", "palette annotation", label(4), "indices"),
        ("fatal", "different sizes", image(5), "40 x 48 (height x width), its annotation 40 x 47"),
        ("fatal", "different sizes", image(6), "stored rotated (EXIF orientation)"),
        ("fatal", "labels out of range", label(7), "contains the labels 6, 7, but"),
        ("warning", "only 0 and 255", label(8), "black and white"),
        ("fatal", "image without annotation", image(9), "has no annotation"),
        ("fatal", "annotation without image", label(10), "has no image"),
        ("fatal", "two files of one name", image(11, "png"), "scene_11.jpg"),
        ("note", "not RGB", image(12), "mode L"),
        ("note", "not RGB", image(13), "mode CMYK"),
        ("note", "not RGB", image(14, "png"), "mode RGBA"),
        ("note", "transparency", image(14, "png"), "transparent"),
        ("warning", "nothing labelled", label(15), "no pixel has a class"),
        ("warning", "duplicate", image(17, "png"), "has the same pixels as"),
        ("warning", "duplicate", image(18), "but different labels"),
        ("warning", "extreme size", image(19), "8 x 40"),
        ("warning", "extreme size", image(20), "32 x 400"),
        ("warning", "rotated image", image(21), "EXIF orientation 3"),
        ("warning", "grey end", image(22), "grey"),
        ("warning", "image in two splits", root / "images/validation/scene_3.jpg", "split train"),
        ("note", "transparency", image(24, "png"), "transparent"),
        ("warning", "missing classes", "train", "no pixel has the class f"),
        ("warning", "missing classes", "validation", "no pixel has the class f"),
    }


def test_every_defect_is_reported_with_file_and_severity(broken):
    root, expected = broken
    report = validate(root)
    assert {(problem.severity, problem.kind, problem.file) for problem in report.problems} == {
        (severity, kind, str(file)) for severity, kind, file, _ in expected
    }
    assert len(report.problems) == len(expected)
    for severity, kind, file, text in expected:
        (problem,) = (p for p in found(report, kind) if p.file == str(file))
        assert text in problem.text, (severity, kind)
        assert problem.advice[0].isupper()
        assert str(problem) == f"{file}: {problem.text}. {problem.advice}"
    assert report.fatal
    severities = [problem.severity for problem in report.problems]
    assert severities == sorted(severities, key=["fatal", "warning", "note"].index)


def test_the_check_before_training_and_the_first_batch_say_the_same(broken):
    root, _ = broken
    dataset = FolderDataset(root, "train", SIX, strict=False)
    fatal = {
        index: str(dataset.examine(index).problems[0])
        for index in range(len(dataset))
        if any(p.severity == "fatal" for p in dataset.examine(index).problems)
    }
    assert len(fatal) == 7
    with pytest.raises(DataError) as caught:
        dataset.check()
    for index in fatal:
        (problem,) = (p for p in dataset.examine(index).problems if p.severity == "fatal")
        assert f"{problem.file}: {problem.text}" in str(caught.value)
        assert problem.advice in str(caught.value)
    for index in range(len(dataset)):
        if index in fatal:
            with pytest.raises(DataError) as caught:
                dataset.read(index)
            assert str(caught.value) == fatal[index]
        else:
            dataset.read(index)
    with pytest.raises(DataError) as caught:
        FolderDataset(root, "train", SIX)
    assert sorted(str(caught.value).splitlines()) == sorted(map(str, dataset.problems))


def test_one_worker_and_many_give_the_same_report(broken):
    root, _ = broken
    dataset = FolderDataset(root, "train", SIX, strict=False)
    one, many = (validate_dataset(dataset, False, workers).to_dict() for workers in (1, 7))
    assert one == many
    assert one["splits"]["all"]["images"] == 24


def test_counts_and_sizes(make_folder, tmp_path):
    root = make_folder(count=3, size=SIZE, highest=2)
    label = np.full(SIZE, 255, "uint8")
    label[:10] = 5
    paint(root, "scene_1", label)
    report = validate(root)
    labels = [
        np.asarray(Image.open(root / "annotations" / "train" / f"scene_{index}.png"))
        for index in range(3)
    ]
    train = report.splits["train"]
    assert train.pixels.tolist() == [sum((label == c).sum() for label in labels) for c in range(6)]
    assert train.images_per_class.tolist() == [
        sum((label == c).any() for label in labels) for c in range(6)
    ]
    assert train.ignored_pixels == 30 * 48
    assert train.sizes == {SIZE: 3}
    assert train.shares.sum() == pytest.approx(1)
    report.save(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored == report.to_dict()
    assert stored["splits"]["train"]["classes"]["f"] == {
        "pixels": 480,
        "share": pytest.approx(480 / (3 * 40 * 48 - 30 * 48)),
        "images": 1,
    }
    assert stored["splits"]["train"]["sizes"] == [{"height": 40, "width": 48, "images": 3}]
    screen = rich.console.Console(file=io.StringIO(), width=100)
    screen.print(report.table())
    shown = screen.file.getvalue()
    assert "[bold]" in shown
    assert "missing" in shown
    assert "25.000%" in shown  # without a class
    # A class that occurs has a bar in its colour.
    chart = np.asarray(report.chart()).reshape(-1, 3)
    assert (chart == SIX.colors[5]).all(1).sum() > 100
    assert not (chart == SIX.colors[4]).all(1).any()


@pytest.mark.parametrize(
    ("label", "options", "severity", "kind", "advice"),
    [
        ((1, 2, 3), {}, "warning", "labels from 1", "set label_offset=1"),
        ((0, 0, 0, 1), {}, "warning", "label 0 everywhere", "set label_offset=1"),
        ((0, 255), {}, "fatal", "0 and 255 for 0 and 1", "Replace 255"),
        ((0, 0, 1), {"label_offset": 1}, "warning", "mostly unlabelled", "label_offset"),
        (
            (0, 1, 255),
            {"ignore_label": 9},
            "fatal",
            "labels out of range",
            "set ignore_label=(9, 255)",
        ),
        ((0, 1, 9), {}, "fatal", "labels out of range", "set label_offset=1"),
        ((0, 255), {"label_offset": 1}, "fatal", "no class anywhere", "values in the annotations"),
        ((1, 5), {"label_offset": 1}, "warning", "missing classes", "count as 0"),
    ],
)
def test_what_shows_in_a_whole_split(make_folder, label, options, severity, kind, advice):
    root = make_folder(count=2, size=SIZE, splits=("train", "validation"))
    for split in ("train", "validation"):
        for index in range(2):
            paint(root, f"scene_{index}", np.resize(np.array(label, "uint8"), SIZE), split)
    problems = found(validate(root, **options), kind)
    assert {problem.severity for problem in problems} == {severity}
    assert all(advice in problem.advice for problem in problems)
    files = {problem.file for problem in problems}
    assert len(files) == (4 if kind == "labels out of range" else 2)
    if kind != "labels out of range":
        assert files == {"train", "validation"}


def test_a_mask_of_0_and_255_among_others_is_no_more_than_a_warning(make_folder):
    root = make_folder(count=3, size=SIZE)
    paint(root, "scene_1", np.resize(np.array((0, 255), "uint8"), SIZE))
    report = validate(root)
    assert not report.fatal
    assert len(found(report, "only 0 and 255")) == 1
    # Where 255 is a class, the numbers 0 and 255 are like any others.
    assert not found(validate(root, Classes.numbered(300)), "only 0 and 255")


def test_a_missing_split_is_fatal(make_folder):
    report = validate(make_folder(count=1, splits=("train",)))
    assert report.fatal
    for problem in found(report, "missing split"):
        text = "there is no folder for the split 'validation'"
        text += f"; {problem.file} contains the folder train"
        assert problem.text == text
    assert report.splits["validation"].images == 0


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        # Not every file: one of 48 without the class hides nothing.
        ([(0, 255)] * 47 + [(0,)], ("--num-classes", 2), "contain only 0 and 255"),
        ([(0, 255)] * 2, ("--num-classes", 2, "--ignore-label", 255), "contain only 0 and 255"),
        (
            [(0, 1, 2, 9)] * 2,
            ("--num-classes", 3, "--ignore-label", 9, 1, 2, 255),
            "with --label-offset 0 the classes have the values 0 to 2, which include 1, 2. "
            "Received: --ignore-label 1 2 9 255",
        ),
        ([(0, 255), (0, 0)], ("--num-classes", 1), "count the background as a class, too: set --"),
        ([(0, 0)] * 2, ("--num-classes", 1), "there is only one class"),
        ([(0, 0)] * 2, ("--num-classes", 3), "every labelled pixel has the same class, 'class 0'"),
        ([(255,), (255,)], ("--num-classes", 3), "no pixel of any annotation has a class"),
        ([(0, 0)], ("--num-classes", 3, "--label-offset", 1), "check --label-offset, --ignore"),
    ],
)
@pytest.mark.parametrize("command", ["validate-data", "train"])
def test_what_is_fatal_in_a_split_stops_training_before_it_writes(
    make_folder, tmp_path, capsys, command, labels, options, message
):
    root = make_folder(count=len(labels), size=SIZE, splits=("train",))
    sound = make_folder(count=1, size=SIZE, splits=("validation",))
    assert sound == root
    for index, label in enumerate(labels):
        paint(root, f"scene_{index}", np.resize(np.array(label, "uint8"), SIZE))
    options = ("--dataset", "folder", "--data-dir", root, *options)
    if command == "train":
        options += ("--model", "fcn_resnet18", "--output-dir", tmp_path / "run")
    assert cli.main([command, *map(str, options)]) == 1
    shown = capsys.readouterr()
    assert message.lower() in (shown.out + shown.err).lower()
    assert "--num-classes 2" in shown.out + shown.err or "set --" not in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ((0, 255), "validation: all annotations contain only 0 and 255"),
        ((255,), "validation: no pixel"),
    ],
)
def test_what_is_fatal_in_validation_stops_training_too(
    make_folder, tmp_path, capsys, label, message
):
    root = make_folder(count=2, size=SIZE)
    for index in range(2):
        paint(root, f"scene_{index}", np.resize(np.array(label, "uint8"), SIZE), "validation")
    options = ("--dataset", "folder", "--data-dir", root, "--num-classes", 3)
    assert cli.main(["train", *map(str, options), "--output-dir", str(tmp_path / "run")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


class Drawn(SegmentationDataset):
    """A custom data set with one label map per image."""

    def __init__(self, classes, *labels):
        super().__init__(classes)
        self.labels, self.read_so_far = labels, 0

    def __len__(self):
        return len(self.labels)

    def name(self, index):
        return str(index)

    def read(self, index):
        self.read_so_far += 1
        return noise(*SIZE, index), np.resize(np.array(self.labels[index], "int32"), SIZE)

    def check(self):
        check_split("train", self)


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (1, [(0,)], "only one class"),
        (2, [(0,), (0, 255)], "only 0 and 255"),
        (2, [(1,), (1, 255)], "every labelled pixel has the same class, 'class 1'"),
        (2, [(255,), (255,)], "no pixel of any annotation"),
        (2, [(0,), (9,)], "returned the labels 9"),
        (2, [], "contains no images"),
    ],
)
def test_every_kind_of_data_set_is_judged(count, labels, message):
    dataset = Drawn(Classes.numbered(count), *labels)
    with pytest.raises(DataError, match=message):
        dataset.check()
    report = validate_dataset({"train": dataset}, progress=False)
    assert report.fatal
    assert message in report.summary()


def test_a_sound_split_is_judged_by_its_first_images():
    dataset = Drawn(SIX, (0, 255), (0, 1), *[(2,)] * 10)
    dataset.check()
    assert dataset.read_so_far == 2
    # One class is no reason against a split that is only to be scored.
    assert not validate_dataset({"validation": Drawn(SIX, (1,))}, progress=False).fatal


class Faulty(SegmentationDataset):
    """Not in files: one sound image, and three that are not."""

    def __len__(self):
        return 4

    def name(self, index):
        return f"record {index}"

    def read(self, index):
        if index == 1:
            raise DataError("the record is damaged")
        height, number = (41, 0) if index == 2 else (40, 0 if index == 0 else 6)
        return noise(height, 48, index), np.full(SIZE, number, "int32")

    def check(self):
        pass


def test_any_data_set_can_be_validated():
    report = validate_dataset(Faulty(SIX), progress=False)
    fatal = [(p.file, p.kind) for p in report.problems if p.severity == "fatal"]
    assert sorted(fatal) == [
        ("record 1", "unusable"),
        ("record 2", "different sizes"),
        ("record 3", "labels out of range"),
    ]
    (damaged,) = found(report, "unusable")
    assert damaged.text == "the record is damaged"
    assert report.splits["all"].pixels.tolist() == [2 * 40 * 48, 0, 0, 0, 0, 0]
    report = validate_dataset(load_dataset("synthetic", "validation"), progress=False)
    assert report.problems == ()
    assert report.splits["all"].images_per_class.min() > 0


def test_a_broken_exif_tag_is_no_reason_to_stop(make_folder):
    root = make_folder(count=1, size=SIZE, highest=5)
    image = Image.fromarray(noise(*SIZE))
    words = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0up\0\0\0\0\0\0"
    image.save(root / "images" / "train" / "scene_0.jpg", exif=words)
    assert validate(root).splits["train"].images == 1


@pytest.mark.parametrize("splits", [{}, {"train": Faulty(SIX), "val": Faulty(Classes.numbered(6))}])
def test_splits_must_agree(splits):
    with pytest.raises(ValueError, match="same classes"):
        validate_dataset(splits)


def run(*options):
    return cli.main(["validate-data", *map(str, options)])


def test_the_command_fails_where_something_is_fatal(broken, tmp_path, capsys):
    root, expected = broken
    report, chart = tmp_path / "out" / "report.json", tmp_path / "out" / "chart.png"
    options = ("--dataset", "folder", "--data-dir", root, "--class-names", *SIX.names)
    assert run(*options, "--json", report, "--chart", chart) == 1
    shown = capsys.readouterr()
    assert "Problems: fatal: 10, warning: 12, note: 5." in shown.out
    for _, kind, file, _ in expected:
        assert kind in shown.out
        assert str(file) in shown.out
    for split in ("train", "validation"):
        assert re.search(rf"reading {split}: \d+ in ", shown.err)
    assert len(json.loads(report.read_text())["problems"]) == len(expected)
    with Image.open(chart) as image:
        assert image.format == "PNG"


def listed(root, split="train"):
    """What is wrong with the folders of a split, before files are looked into."""
    return FolderDataset(root, split, SIX, strict=False)


def test_names_in_two_unicode_forms_are_paired(make_folder):
    root = make_folder(count=2, size=SIZE)
    for kind, name, ending in (
        ("images", "Stra\u00dfe_\u00e9", "jpg"),
        ("annotations", "Stra\u00dfe_e\u0301", "png"),
    ):
        folder = root / kind / "train"
        (folder / f"scene_1.{ending}").rename(folder / f"{name}.{ending}")
    dataset = FolderDataset(root, "train", SIX)
    assert len(dataset) == 2
    assert dataset.name(0) == "Stra\u00dfe_\u00e9"
    dataset.check()
    # Both forms in one folder are two files of one name.
    shutil.copy(folder / "Stra\u00dfe_e\u0301.png", folder / "Stra\u00dfe_\u00e9.png")
    with pytest.raises(DataError, match="another Unicode form"):
        FolderDataset(root, "train", SIX)


def test_names_that_are_not_utf_8_can_be_read_and_printed(make_folder, capsys):
    root = make_folder(count=2, size=SIZE)
    name = os.fsdecode(b"caf\xe9")
    try:
        (root / "images" / "train" / "scene_1.jpg").rename(root / "images/train" / f"{name}.jpg")
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    (problem, other) = listed(root).problems
    assert "its name is not UTF-8" in problem.text
    assert r"caf\udce9.jpg" in problem.file
    assert other.kind == "annotation without image"
    assert run("--dataset", "folder", "--data-dir", root, "--num-classes", 3) == 1
    assert "its name is not UTF-8" in capsys.readouterr().out
    with pytest.raises(DataError, match="not UTF-8"):
        FolderDataset(root, "train", SIX)
    labels = root / "annotations" / "train"
    (labels / "scene_1.png").rename(labels / f"{name}.png")
    FolderDataset(root, "train", SIX).check()
    paint(root, name, noise(*SIZE))
    with pytest.raises(DataError, match=r"caf.*udce9\.png: the annotation is colour-coded"):
        FolderDataset(root, "train", SIX).check()


def test_files_that_are_not_read_are_reported(make_folder):
    root = make_folder(count=3, size=SIZE)
    images, labels = root / "images" / "train", root / "annotations" / "train"
    (images / "a.png").mkdir()
    (images / "notes.txt").write_text("words")
    (images / ".hidden").write_text("words")
    (labels / "scene_0.png").rename(labels / "scene_0.gif")
    (labels / "scene_1.png").rename(labels / "scene_1.jpg")
    dataset = listed(root)
    assert [(p.severity, p.kind, p.text) for p in dataset.problems] == [
        (
            "warning",
            "not read",
            "also contains the sub-folder a.png, 1 .txt file; none of this is read",
        ),
        ("note", "not read", "also contains 1 .gif file, 1 .jpg file; none of this is read"),
        (
            "fatal",
            "image without annotation",
            "has no annotation; scene_0.gif is not read as one",
        ),
        (
            "fatal",
            "image without annotation",
            "has no annotation; scene_1.jpg is not read as one",
        ),
    ]
    assert dataset.problems[2].advice == "Save the annotation as PNG"
    assert "lossy formats such as JPEG change the values" in dataset.problems[3].advice
    for index in (0, 1):
        (images / f"scene_{index}.jpg").unlink()
    # What is only worth knowing is no reason not to open it.
    assert len(FolderDataset(root, "train", SIX)) == 1
    (images / "scene_2.jpg").rename(images / "scene_2.gif")
    (empty,) = [p for p in listed(root).problems if p.severity == "fatal"]
    assert "contains no images" in empty.text
    assert "but the sub-folder a.png, 1 .gif file, 1 .txt file" in empty.text
    assert "Move the files from the sub-folders" in empty.advice
    shutil.rmtree(root / "images")
    (missing,) = [p for p in listed(root).problems if p.severity == "fatal"]
    assert "contains the folder annotations" in missing.text
    assert "Expected a folder called images" in missing.advice


def test_a_file_that_disappears_is_reported_and_the_others_are_examined(make_folder):
    root = make_folder(count=4, size=SIZE)
    splits = {"train": FolderDataset(root, "train", SIX)}
    (root / "images" / "train" / "scene_1.jpg").unlink()
    (root / "annotations" / "train" / "scene_2.png").write_bytes(b"")
    report = validate_dataset(splits, progress=False)
    fatal = {(p.kind, p.file) for p in report.problems if p.severity == "fatal"}
    assert fatal == {
        ("missing file", str(root / "images" / "train" / "scene_1.jpg")),
        ("not an image", str(root / "annotations" / "train" / "scene_2.png")),
    }
    assert report.splits["train"].sizes == {SIZE: 3}
    with pytest.raises(DataError, match=r"scene_1\.jpg: there is no such file"):
        splits["train"].check()


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("03_binary_0_255", 1, ["there is only one class", "set --num-classes 2"]),
        ("03_binary_0_255", 2, ["fatal: 0 and 255 for 0 and 1"]),
        ("11_nested", 3, ["but the sub-folder aachen", "Move the files from the sub-folders"]),
        ("13_jpeg_masks", 3, ["but 2 .jpg files", "lossy formats such as JPEG change the values"]),
    ],
)
def test_cases_of_folders(shared_cases, tmp_path, capsys, name, classes, words):
    options = ("--dataset", "folder", "--data-dir", shared_cases / name, "--num-classes", classes)
    assert run(*options) == 1
    shown = " ".join(capsys.readouterr().out.split())
    options = (*options, "--model", "fcn_resnet18", "--output-dir", tmp_path / "run")
    assert cli.main(["train", *map(str, options)]) == 1
    error = " ".join(capsys.readouterr().err.split())
    for part in words:
        assert part in shown
        assert part.removeprefix("fatal: 0 and 255 for 0 and 1") in error
    for text in (shown, error):
        assert "xtract the data set again" not in text
    assert not (tmp_path / "run").exists()


def test_the_case_of_two_unicode_forms(shared_cases, capsys):
    options = ("--dataset", "folder", "--data-dir", shared_cases / "09_nfc_nfd")
    assert run(*options, "--num-classes", 3) == 0
    assert "Images: 2 of train and 2 of validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        ("01_png_broken_exif.png", 0, ""),
        ("02_png_truncated_phys.png", 1, "Truncated pHYs"),
        (
            "08_grey_12bits_in_16.png",
            0,
            "nearly black, because it does not use all of its 16 bits",
        ),
        ("14_182_megapixels.png", 1, "MAX_IMAGE_PIXELS"),
    ],
)
def test_cases_among_sound_files(shared_cases, make_folder, capsys, file, status, words):
    root = make_folder(count=3, size=(96, 128))
    (root / "images" / "train" / "scene_1.jpg").unlink()
    shutil.copy(shared_cases / file, root / "images" / "train" / "scene_1.png")
    options = ("--dataset", "folder", "--data-dir", root, "--num-classes", 3)
    assert run(*options) == status
    shown = capsys.readouterr().out
    assert words in shown
    assert f"Problems: fatal: {status}" in shown


def test_a_long_list_is_cut_in_words_and_whole_in_json(make_folder):
    root = make_folder(count=8, size=SIZE)
    for index in range(8):
        (root / "images" / "train" / f"scene_{index}.jpg").write_text("no image")
    report = validate(root)
    assert "fatal: not an image (8)" in report.summary()
    assert "... and 3 more" in report.summary()
    assert len(found(report, "not an image")) == 8


def test_the_command_succeeds_on_a_sound_data_set(make_folder, capsys):
    root = make_folder(count=2, size=SIZE)
    options = ("--dataset", "folder", "--data-dir", root, "--num-classes", 3)
    assert run(*options) == 0
    assert "Images: 2 of train and 2 of validation. Problems: fatal: 0" in capsys.readouterr().out
    shutil.rmtree(root / "images" / "validation")
    assert run(*options, "--split", "train") == 0
    assert run(*options) == 1
    assert "for the split 'validation'" in capsys.readouterr().out
    assert run("--dataset", "camvid", "--data-dir", root / "nowhere") == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_camvid(camvid_folder):
    splits = {
        split: load_dataset("camvid", split, camvid_folder) for split in ("train", "validation")
    }
    report = validate_dataset(splits, progress=False)
    assert report.problems == ()
    assert [split.images for split in report.splits.values()] == [367, 101]
    assert set(report.splits["train"].sizes) == {(360, 480)}


def test_ade20k_sample(ade20k_sample, capsys):
    options = ("--dataset", "ade20k", "--data-dir", ade20k_sample / "ADEChallengeData2016")
    assert run(*options, "--split", "validation") == 0
    assert "Problems: fatal: 0, warning: 1, note: 0." in capsys.readouterr().out
    assert run(*options) == 1
    assert "for the split 'train'" in capsys.readouterr().out
