from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import ADE20K_CLASSES, load_dataset, write_stand_in
from pdanet_tf.data.sources.ade20k_stand_in import _SPLITS, _draw_sizes, _load_sizes


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("data") / "drawn", 120, 12, progress=False)


def image_sizes(root, split):
    sizes = []
    for path in sorted((root / "images" / split).iterdir()):
        with Image.open(path) as image:
            sizes.append((image.height, image.width))
    return sizes


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_table_counts_the_sizes_of_the_real_images(ade20k_sample):
    table = _load_sizes()
    for split in _SPLITS:
        with np.load(ade20k_sample / f"{split.folder}_sizes.npz") as file:
            expected = Counter(map(tuple, file["height_width"].tolist()))
        found = {(row[0], row[1]): row[split.column] for row in table.tolist() if row[split.column]}
        assert found == expected


@pytest.mark.parametrize(("split", "count"), [(_SPLITS[0], 20210), (_SPLITS[1], 2000)])
def test_as_many_images_as_ade20k_have_exactly_its_sizes(split, count):
    table = _load_sizes()
    sizes = Counter(_draw_sizes(table, split.column, count, np.random.default_rng(0)))
    assert sizes == {
        (row[0], row[1]): row[split.column] for row in table.tolist() if row[split.column]
    }


def test_sizes_are_spread_as_those_of_ade20k(stand_in):
    table = _load_sizes()
    sizes = image_sizes(stand_in, "training")
    (mode, count), *_ = Counter(sizes).most_common()
    assert mode == (512, 683)
    assert count / 120 == pytest.approx(5373 / 20210, abs=1 / 120)
    true_sizes = np.repeat(table[:, :2], table[:, 2], axis=0)
    # Four standard errors of a difference of means.
    error = 4 * true_sizes.std(axis=0) / np.sqrt(120)
    assert (np.abs(np.mean(sizes, axis=0) - true_sizes.mean(axis=0)) < error).all()
    portrait, true_portrait = (np.mean([h > w for h, w in s]) for s in (sizes, true_sizes))
    assert portrait == pytest.approx(true_portrait, abs=4 * np.sqrt(0.12 * 0.88 / 120))
    # No order: a prefix of the set is a sample, too.
    assert sizes != sorted(sizes)


def test_it_opens_as_ade20k(stand_in):
    for split, prefix, count in (("train", "ADE_train", 120), ("validation", "ADE_val", 12)):
        dataset = load_dataset("ade20k", split, stand_in)
        dataset.check()
        assert [dataset.name(i) for i in range(len(dataset))] == [
            f"{prefix}_{number:08d}" for number in range(1, count + 1)
        ]
        image, label = dataset.read(0)
        assert image.shape == (*label.shape, 3)


def test_it_weighs_what_ade20k_does(stand_in):
    pixels = sum(height * width for height, width in image_sizes(stand_in, "training"))
    for kind, lowest, highest in (("images", 0.15, 0.20), ("annotations", 0.01, 0.03)):
        size = sum(path.stat().st_size for path in (stand_in / kind / "training").iterdir())
        assert lowest < size / pixels < highest


def test_few_frequent_classes_and_many_rare_ones(stand_in):
    dataset = load_dataset("ade20k", "train", stand_in)
    labels = [dataset.read(index)[1] for index in range(120)]
    counts = sum(np.bincount(label.ravel(), minlength=256) for label in labels)
    shares = counts / counts.sum()
    assert shares[:150].argmax() == 0  # wall
    assert 0.5 < shares[:10].sum() < 0.8  # 0.62 in ADE20K
    assert shares[50:150].sum() < 0.2
    assert 0.01 < shares[255] < 0.2  # other
    assert 6 < np.mean([len(np.unique(label)) for label in labels]) < 11


def test_the_official_lists(stand_in):
    header, *rows = (stand_in / "objectInfo150.txt").read_text("utf-8").splitlines()
    assert header.split("\t") == ["Idx", "Ratio", "Train", "Val", "Name"]
    columns = list(zip(*(row.split("\t") for row in rows), strict=True))
    assert [int(number) for number in columns[0]] == list(range(1, 151))
    assert columns[4] == ADE20K_CLASSES.names
    dataset = load_dataset("ade20k", "train", stand_in)
    with_wall = sum((dataset.read(index)[1] == 0).any() for index in range(120))
    assert int(columns[2][0]) == with_wall
    scenes = [
        line.split(" ")
        for line in (stand_in / "sceneCategories.txt").read_text("utf-8").splitlines()
    ]
    assert len(scenes) == 132
    assert scenes[0][0] == "ADE_train_00000001"
    assert scenes[120][0] == "ADE_val_00000001"
    assert "not ADE20K" in (stand_in / "README.txt").read_text("utf-8")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, again, other = (
        write_stand_in(tmp_path / name, 6, 2, seed, progress=False)
        for name, seed in (("first", 7), ("again", 7), ("other", 8))
    )
    drawn = contents(first)
    assert drawn == contents(again)
    for name, content in contents(other).items():
        if name.suffix in (".jpg", ".png"):
            assert content != drawn[name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch, error):
    saved = []

    def save(image, path, **options):
        saved.append(path)
        if len(saved) >= 5:
            raise error
        path.touch()

    with monkeypatch.context() as context:
        context.setattr(Image.Image, "save", save)
        with pytest.raises((KeyboardInterrupt, OSError)):
            write_stand_in(tmp_path / "drawn", 200, 2, progress=False)
    assert len(saved) < 402  # it does not go on in vain
    assert list(tmp_path.iterdir()) == []
    write_stand_in(tmp_path / "drawn", 1, 1, progress=False)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(FileExistsError, match="mine"):
        write_stand_in(tmp_path / "mine", 1, 1, progress=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "file"]


@pytest.mark.parametrize(
    "numbers", [{"num_training": 0}, {"num_validation": 0}, {"seed": -1}], ids=str
)
def test_numbers_out_of_range(tmp_path, numbers):
    (name,) = numbers
    with pytest.raises(ValueError, match=f"Received: {name}="):
        write_stand_in(tmp_path / "drawn", **numbers)
    assert list(tmp_path.iterdir()) == []
