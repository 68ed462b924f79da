import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data import FolderDataset, SyntheticDataset
from pdanet_tf.data.batches.tf_bridge import ErrorRecordingDataset
from pdanet_tf.data.class_frequencies import ClassFrequencies, compute_class_weights, count_classes
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError

NAMES = ("sky", "road", "pole")


def write(root, labels):
    """Writes a data set with these label maps, whose images cannot be decoded."""
    for kind in ("images", "annotations"):
        (root / kind / "train").mkdir(parents=True, exist_ok=True)
    for index, label in enumerate(labels):
        (root / "images" / "train" / f"{index}.png").write_bytes(b"not an image")
        image = Image.fromarray(np.array(label, "uint8"))
        image.save(root / "annotations" / "train" / f"{index}.png")
    return FolderDataset(root, "train", Classes.named(NAMES))


LABELS = [[[0, 0, 0, 1], [0, 0, 255, 1]], [[0, 0, 2, 2], [0, 0, 255, 255]]]


def test_counts_by_hand(tmp_path):
    dataset = write(tmp_path, LABELS)
    for each in (dataset, ErrorRecordingDataset(dataset)):
        found = count_classes(each, tmp_path / "cache")
        assert found.pixels.tolist() == [9, 2, 2]
        assert found.image_pixels.tolist() == [13, 7, 6]


def test_the_cache(tmp_path):
    cache = tmp_path / "cache"
    dataset = write(tmp_path, LABELS)
    expected = count_classes(dataset, cache).pixels.tolist()
    (file,) = cache.iterdir()
    good = file.read_text()
    file.write_text(good.replace("9", "8"))
    assert count_classes(dataset, cache).pixels.tolist() == [8, 2, 2]  # it was read
    for damaged in ("", "{}", "[]", good.replace("9", '"x"'), good.replace("9", "-9"), good[:20]):
        file.write_text(damaged)
        assert count_classes(dataset, cache).pixels.tolist() == expected
        assert file.read_text() == good
    changed = write(tmp_path, [LABELS[0], LABELS[0]])
    assert count_classes(changed, cache).pixels.tolist() == [10, 4, 0]
    assert len([*cache.iterdir()]) == 2
    # The same files with another meaning.
    other = FolderDataset(tmp_path, "train", Classes.named(NAMES), ignore_label=(7, 255))
    assert count_classes(changed, cache).pixels.tolist() == [10, 4, 0]
    assert other.hash_annotation(0) != changed.hash_annotation(0)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    dataset = write(tmp_path / "data", LABELS)
    assert count_classes(dataset, tmp_path / "file").pixels.tolist() == [9, 2, 2]


def test_a_damaged_annotation_is_named(tmp_path):
    dataset = write(tmp_path, LABELS)
    (tmp_path / "annotations" / "train" / "1.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"1\.png"):
        count_classes(dataset, tmp_path / "cache")


def test_a_data_set_without_hashes_is_counted(tmp_path):
    dataset = SyntheticDataset("validation", (24, 32))
    found = count_classes(dataset, tmp_path)
    labels = np.stack([dataset.read(index)[1] for index in range(len(dataset))])
    assert found.pixels.tolist() == np.bincount(labels.ravel(), minlength=8).tolist()
    assert not [*tmp_path.iterdir()]


def test_weights_by_hand():
    frequencies = ClassFrequencies(np.array([9, 2, 2]), np.array([13, 7, 6]))
    classes = Classes.named(NAMES)
    found = compute_class_weights("balanced", frequencies, classes)
    assert found == pytest.approx((13 / 27, 13 / 6, 13 / 6))  # scikit-learn's definition
    found = compute_class_weights("median-frequency", frequencies, classes)
    assert found == pytest.approx((1 / 3 / (9 / 13), 1 / 3 / (2 / 7), 1))
    found = compute_class_weights("log", frequencies, classes)
    assert found == pytest.approx([1 / np.log(1.02 + n / 13) for n in (9, 2, 2)])


def test_absent_classes_are_named():
    frequencies = ClassFrequencies(np.array([9, 0, 0]), np.array([13, 0, 0]))
    classes = Classes.named(NAMES)
    for scheme in ("balanced", "median-frequency"):
        with pytest.raises(ValueError, match="Without a pixel: 'road, pole'"):
            compute_class_weights(scheme, frequencies, classes)
    weights = compute_class_weights("log", frequencies, classes)
    assert weights[1] == pytest.approx(1 / np.log(1.02))
    with pytest.raises(ValueError, match="did you mean 'balanced'"):
        compute_class_weights("balance", frequencies, classes)
