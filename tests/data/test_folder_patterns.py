"""Folders of other layouts: pairs by patterns, and splits by lists of files."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.cli import main
from pdanet_tf.data import Classes, DataError, FolderDataset, load_dataset
from pdanet_tf.training.config import TrainConfig

TWO = Classes.named(("rest", "crack"))
SIDE_BY_SIDE = {
    "image_pattern": "{split}/{name}.png",
    "annotation_pattern": "{split}/{name}_mask.png",
}


def save(path, value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((8, 12, 3) if mode == "RGB" else (8, 12), value, "uint8")
    array[:4] = 0
    Image.fromarray(array).save(path)


def write_pairs(root, names, image="{}.png", label="{}_mask.png"):
    """Writes a pair of files for each name; the image's pixels and the labels tell which it is."""
    for index, name in enumerate(names):
        save(root / image.format(name), 10 * index)
        save(root / label.format(name), index % 2, "L")
    return root


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def test_masks_beside_their_images(tmp_path):
    write_pairs(tmp_path, ["train/a", "train/b", "val/c"])
    train = load_dataset("folder", "train", tmp_path, num_classes=2, **SIDE_BY_SIDE)
    assert names(train) == ["a", "b"]
    image, label = train.read(1)
    assert (image[-1, 0, 0], label[-1, 0], label[0, 0]) == (10, 1, 0)
    assert names(FolderDataset(tmp_path, "validation", TWO, **SIDE_BY_SIDE)) == ["c"]
    assert names(FolderDataset(tmp_path, "val", TWO, **SIDE_BY_SIDE)) == ["c"]
    # Images and annotations of one folder are told apart by the pairs, for people to look at.
    assert train.shown_annotation(tmp_path / "train" / "a.png") is None
    assert train.shown_annotation(tmp_path / "train" / "b_mask.png")[-1, 0] == 1


def test_nested_folders_and_classes_csv(tmp_path):
    write_pairs(tmp_path, ["city/1", "city/2", "road/1"], "img/train/{}.jpg", "lab/train/{}.png")
    (tmp_path / "classes.csv").write_text("name,red,green,blue\nrest,0,0,0\ncrack,255,0,0\n")
    dataset = load_dataset(
        "folder",
        "train",
        tmp_path,
        image_pattern="img/{split}/{name}.jpg",
        annotation_pattern="lab/{split}/{name}.*",
    )
    assert names(dataset) == ["city_1", "city_2", "road_1"]
    assert dataset.classes.names == ("rest", "crack")
    assert dataset.classes.colors == ((0, 0, 0), (255, 0, 0))


def test_one_pattern_leaves_the_other_folder_as_usual(tmp_path):
    write_pairs(tmp_path, ["train/a"], "images/{}.png", "annotations/{}_L.png")
    pattern = "annotations/{split}/{name}_L.png"
    assert names(FolderDataset(tmp_path, "train", TWO, annotation_pattern=pattern)) == ["a"]


def test_annotations_without_folders_of_splits(tmp_path):
    for name, split in (("a", "train"), ("b", "val")):
        save(tmp_path / split / f"{name}.png")
        save(tmp_path / "masks" / f"{name}.png", 1, "L")
    patterns = {"image_pattern": "{split}/{name}.png", "annotation_pattern": "masks/{name}.png"}
    # `masks/a.png` fits both patterns, too, but is no image of a split called masks.
    assert names(FolderDataset(tmp_path, "train", TWO, **patterns)) == ["a"]
    save(tmp_path / "masks" / "lost.png", 1, "L")
    (problem,) = FolderDataset(tmp_path, "train", TWO, **patterns).problems
    assert (problem.kind, problem.severity) == ("annotation without image", "warning")
    save(tmp_path / "val" / "a.png")
    with pytest.raises(DataError, match=r"val/a\.png: there is also .*train/a\.png of"):
        FolderDataset(tmp_path, "train", TWO, **patterns)


def test_lists_of_files(tmp_path):
    write_pairs(tmp_path, ["a", "b", "deep/c", "d"], "images/{}.png", "annotations/{}.png")
    (tmp_path / "train.txt").write_text("a\n# a comment\nimages/deep/c.png\n")
    (tmp_path / "val.txt").write_text("b\n")
    lists = {"train": "train.txt", "val": tmp_path / "val.txt"}
    train = load_dataset("folder", "train", tmp_path, num_classes=2, split_lists=lists)
    assert names(train) == ["a", "deep_c"]
    assert train.read(1)[0][-1, 0, 0] == 20
    assert names(FolderDataset(tmp_path, "validation", TWO, split_lists=lists)) == ["b"]
    with pytest.raises(
        DataError,
        match=r"no image of the split 'trian' \(did you mean 'train'\?\); split_lists has",
    ):
        FolderDataset(tmp_path, "trian", TWO, split_lists=lists)
    lists["val"] = "missing.txt"
    with pytest.raises(DataError, match=r"missing.txt: the list cannot be read: No such file"):
        FolderDataset(tmp_path, "train", TWO, split_lists=lists)
    (tmp_path / "val.txt").write_text("b\na\nx\n")
    lists["val"] = "val.txt"
    with pytest.raises(DataError, match=r"line 2 is 'a', which is also in train; .*line 3 is 'x'"):
        FolderDataset(tmp_path, "train", TWO, split_lists=lists)


def test_a_pattern_that_fits_nothing(tmp_path):
    write_pairs(tmp_path, [f"train/{index}" for index in range(5)])
    patterns = {**SIDE_BY_SIDE, "annotation_pattern": "{split}/{name}_label.png"}
    message = (
        r"contains no file that fits annotation_pattern='\{split\}/\{name\}_label.png'; it contains"
        r" train/0.png, train/0_mask.png, train/1.png and 7 more. Set annotation_pattern to fit"
    )
    with pytest.raises(DataError, match=message):
        FolderDataset(tmp_path, "train", TWO, **patterns)
    dataset = FolderDataset(tmp_path, "train", TWO, strict=False, **patterns)
    assert len(dataset) == 0
    assert [problem.kind for problem in dataset.problems] == ["no files"]
    (tmp_path / "train" / "0.npy").touch()
    patterns = {**SIDE_BY_SIDE, "image_pattern": "{split}/{name}.npy"}
    with pytest.raises(DataError, match=r"fits only files that are not read \(\.npy\).*channels"):
        FolderDataset(tmp_path, "train", TWO, **patterns)


def test_files_without_partner(tmp_path):
    write_pairs(tmp_path, [f"train/{index}" for index in range(3)])
    for index in range(7):
        save(tmp_path / "train" / f"lone_{index}.png")
    save(tmp_path / "train" / "LONE_0_mask.png", 1, "L")
    with pytest.raises(DataError) as caught:
        FolderDataset(tmp_path, "train", TWO, **SIDE_BY_SIDE)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(
        "LONE_0_mask.png: has no image: '{split}/{name}.png' finds none of the name 'LONE_0'. Add "
        "the image, or remove the annotation"
    )
    assert lines[1] == "image without annotation (7):"
    assert lines[2].endswith(
        "lone_0.png: has no annotation: '{split}/{name}_mask.png' finds none of the name 'lone_0'"
    )
    assert lines[-2].strip() == "... and 2 more"
    assert lines[-1].strip() == (
        "Add the annotations, or change annotation_pattern; annotations without image have the "
        "names 'LONE_0'."
    )


def test_two_images_of_one_annotation(tmp_path):
    write_pairs(tmp_path, ["train/a"], "{}.png", "{}_mask.png")
    save(tmp_path / "train" / "a.jpg")
    with pytest.raises(
        DataError, match=r"a\.png: there is also a\.jpg of the same name\. Keep one"
    ):
        FolderDataset(
            tmp_path, "train", TWO, image_pattern="{split}/{name}.*",
            annotation_pattern="{split}/{name}_mask.png",
        )  # fmt: skip
    write_pairs(tmp_path / "two", ["x/1_2", "x_1/2"], "img/train/{}.png", "lab/train/{}.png")
    with pytest.raises(DataError, match=r"is called 'x_1_2' in results, as .*1_2\.png is"):
        FolderDataset(
            tmp_path / "two", "train", TWO, image_pattern="img/{split}/{name}.png",
            annotation_pattern="lab/{split}/{name}.png",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_pattern": "{nam}.png"}, r"there is no field 'nam' \(did you mean 'name'\?\)"),
        (
            {"image_pattern": "i/{name}.png", "annotation_pattern": "a/{name}.png"},
            r"Neither image_pattern nor annotation_pattern contains \{split\}",
        ),
        (
            {"image_pattern": "{split}/{name}.png", "split_lists": {"train": "train.txt"}},
            r"so split_lists cannot be used\. Write \* in place of",
        ),
        (
            {"image_pattern": "{split}/{name}.png", "annotation_pattern": "{split}/{name}.png"},
            "must differ",
        ),
    ],
)
def test_patterns_that_cannot_be_used(tmp_path, options, message):
    save(tmp_path / "annotations" / "train" / "a.png", 0, "L")
    with pytest.raises(ValueError, match=message):
        FolderDataset(tmp_path, "train", TWO, **options)
    with pytest.raises(ValueError, match="'camvid' defines its own classes and images"):
        load_dataset("camvid", "train", tmp_path, **options)


def test_the_configuration_has_them(tmp_path):
    config = TrainConfig(split_lists={"train": tmp_path / "train.txt"}, image_pattern="{name}.png")
    assert config.split_lists == {"train": str(tmp_path / "train.txt")}
    config.save(tmp_path / "config.json")
    assert TrainConfig.load(tmp_path / "config.json") == config
    with pytest.raises(ValueError, match="split_lists must be an object of names and strings or"):
        TrainConfig(split_lists={"train": 3})


def test_the_command_line_has_them(tmp_path, capsys):
    write_pairs(tmp_path, ["a", "b", "c"], "img/{}.png", "mask/{}_mask.png")
    for split, name in (("train", "a\nc"), ("val", "b")):
        (tmp_path / f"{split}.txt").write_text(name)
    command = ["validate-data", "--dataset", "folder", "--data-dir", str(tmp_path)]
    command += ["--class-names", "rest", "crack", "--image-pattern", "img/{name}.png"]
    command += ["--annotation-pattern", "mask/{name}_mask.png"]
    main([*command, "--split-lists", "train=train.txt", "validation=val.txt"])
    assert "images" in capsys.readouterr().out
    assert main([*command, "--split-lists", "train=no.txt"]) == 1
    assert "no.txt: the list cannot be read" in capsys.readouterr().out
