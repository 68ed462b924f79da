"""Pascal VOC and Cityscapes in their official layouts, drawn small."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import CITYSCAPES_CLASSES, VOC_CLASSES, DataError, load_dataset
from pdanet_tf.data.validation.report import validate_dataset


def save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, "uint8"))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def image(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 48, 3))


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    label = np.arange(40 * 48).reshape(40, 48) % 22
    label[label == 21] = 255
    palette = np.array([*VOC_CLASSES.colors, *[(0, 0, 0)] * 235], "uint8").tobytes()
    for seed, name in enumerate(("2007_000032", "2007_000033", "2007_000039")):
        save(root / "JPEGImages" / f"{name}.jpg", image(seed))
        save(root / "SegmentationClass" / f"{name}.png", label, palette)
    save(root / "JPEGImages" / "2007_000027.jpg", image(9))  # of detection alone
    (lists / "train.txt").write_text("2007_000033\n2007_000032\n")
    (lists / "val.txt").write_text("2007_000039\n")
    return tmp_path


def test_voc(voc):
    """Its colours are those of the devkit's VOClabelcolormap."""
    dataset = load_dataset("voc", "train", voc)
    assert len(dataset) == 2
    assert dataset.name(0) == "2007_000033"
    assert VOC_CLASSES.names[15] == "person"
    assert VOC_CLASSES.colors[15] == (192, 128, 128)
    assert VOC_CLASSES.colors[20] == (0, 64, 128)
    dataset.check()
    _, label = dataset.read(0)
    assert label[0, :23].tolist() == [*range(21), 255, 0]
    splits = {
        split: load_dataset("voc", split, voc / "VOCdevkit", strict=False)
        for split in ("train", "validation")
    }
    assert not validate_dataset(splits, progress=False).problems


def test_files_that_voc_lists_but_lacks(voc):
    (voc / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000032.png").unlink()
    with pytest.raises(DataError, match=r"000032.png: is listed in train.txt, but there is no"):
        load_dataset("voc", "train", voc)
    with pytest.raises(DataError, match=r"test.txt: the list of the split 'test' is missing"):
        load_dataset("voc", "test", voc)
    lists = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_bytes(b"2007_\xdf\n")
    with pytest.raises(DataError, match=r"train.txt: is not text in UTF-8: byte 6 "):
        load_dataset("voc", "train", voc)
    with pytest.raises(ValueError, match="defines its own classes"):
        load_dataset("voc", "train", voc, num_classes=3)


@pytest.fixture
def cityscapes(tmp_path):
    for split, city in (("train", "aachen"), ("val", "ulm")):
        name = f"{city}_000000_000019"
        save(
            tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
            image(len(city)),
        )
        ids = np.arange(40 * 48).reshape(40, 48) % 34
        save(tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
    return tmp_path


def test_cityscapes(cityscapes):
    """Label ids become train ids; those that are not trained become void."""
    dataset = load_dataset("cityscapes", "train", cityscapes)
    assert dataset.num_classes == 19
    assert dataset.name(0) == "aachen_000000_000019_leftImg8bit"
    dataset.check()
    _, label = dataset.read(0)
    trained = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10}
    trained |= {24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert label[0, :34].tolist() == [trained.get(index, 255) for index in range(34)]
    assert CITYSCAPES_CLASSES.names[13] == "car"
    assert CITYSCAPES_CLASSES.colors[13] == (0, 0, 142)
    splits = {
        split: load_dataset("cityscapes", split, cityscapes, strict=False)
        for split in ("train", "validation")
    }
    assert not validate_dataset(splits, progress=False).fatal


def test_train_ids_of_cityscapes_are_read_where_they_exist(cityscapes):
    dataset = load_dataset("cityscapes", "val", cityscapes)
    before = dataset.hash_annotation(0)
    start = cityscapes / "gtFine" / "val" / "ulm" / "ulm_000000_000019_gtFine_label"
    save(start.parent / f"{start.name}TrainIds.png", np.full((40, 48), 18))
    dataset = load_dataset("cityscapes", "val", cityscapes)
    assert (dataset.read(0)[1] == 18).all()
    assert dataset.hash_annotation(0) != before
    save(cityscapes / "prediction.png", np.full((40, 48), 7))
    assert (dataset.read_label(cityscapes / "prediction.png") == 7).all()


def test_problems_of_cityscapes(cityscapes):
    label = next((cityscapes / "gtFine" / "train").rglob("*.png"))
    save(label, np.full((40, 48), 34))
    with pytest.raises(DataError, match="contains the labels 34"):
        load_dataset("cityscapes", "train", cityscapes).check()
    label.unlink()
    with pytest.raises(DataError, match=r"has no annotation aachen_.*_gtFine_labelIds.png"):
        load_dataset("cityscapes", "train", cityscapes)
    with pytest.raises(DataError, match=r"there is no folder for the split 'test'"):
        load_dataset("cityscapes", "test", cityscapes)
