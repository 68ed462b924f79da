"""Rotation, blur and loss of resolution, next to SciPy's and NumPy's own."""

import numpy as np
import pytest
from scipy import ndimage

from pdanet_tf.data import Classes, SegmentationDataset
from pdanet_tf.data.batches.augmentation import (
    Augmentation,
    RotatedWindow,
    blur_image,
    lose_resolution,
)
from pdanet_tf.data.batches.pipeline import crop_batches

FILL = (7, 8, 9)


class Levels(SegmentationDataset):
    """Images whose three channels are 80 times the label: what moved can be seen."""

    def __init__(self, size=(64, 80)):
        super().__init__(Classes.numbered(4))
        label = np.random.default_rng(0).integers(0, 4, (size[0] // 16, size[1] // 16))
        self.label = label.repeat(16, 0).repeat(16, 1).astype("int32")

    def __len__(self):
        return 2

    def name(self, index):
        return f"levels {index}"

    def read(self, index):
        label = self.label[:, ::-1] if index else self.label
        return np.repeat(80 * label[..., None], 3, 2).astype("uint8"), label

    def check(self):
        pass


def take(dataset, count=8, **options):
    arguments = {"batch_size": 2, "crop_size": (48, 48), "color_jitter": 0, "label_stride": 1}
    batches = crop_batches(dataset, **{**arguments, **options})
    return [(images.numpy(), labels.numpy()) for images, labels in batches.take(count)]


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint16")])
def test_quarter_turns_are_numpys(quarters, channels, dtype):
    """Counter-clockwise, for any number of channels and 8 or 16 bits."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, (20, 20, channels)).astype(dtype)
    label = rng.integers(0, 4, (20, 20)).astype("int32")
    window = RotatedWindow((0, 0, 20, 20), (20, 20), 90 * quarters, (20, 20), (0,) * channels)
    cut = window.cut(image)
    assert cut.dtype == dtype
    np.testing.assert_allclose(cut.astype(int), np.rot90(image, quarters).astype(int), atol=1)
    turned = np.rot90(label, quarters)
    np.testing.assert_array_equal(window.subsampled_label(label, 1, 0, 255), turned)
    found = window.subsampled_label(label, 4, 1, 255, flipped=True)
    np.testing.assert_array_equal(found, turned[:, ::-1][1::4, 1::4])


def test_a_rotated_and_scaled_window_is_scipys():
    rng = np.random.default_rng(0)
    height, width = 60, 90
    image = np.stack([ndimage.gaussian_filter(rng.normal(0, 600, (height, width)), 3)] * 3, -1)
    image = np.clip(image + 128, 0, 255).astype("uint8")
    label = rng.integers(0, 4, (height, width)).astype("int32")
    (left, top, right, bottom), (columns, rows), angle = (10.5, 5.0, 60.5, 45.0), (70, 50), 25.0
    window = RotatedWindow((left, top, right, bottom), (columns, rows), angle, label.shape, FILL)

    # SciPy's matrix takes (row, column) of pixel centres, counted from 0, to the same.
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    scale = np.diag([(bottom - top) / rows, (right - left) / columns])
    matrix = scale @ rotation
    middle = np.array([(top + bottom) / 2, (left + right) / 2]) - 0.5
    offset = middle - matrix @ np.array([(rows - 1) / 2, (columns - 1) / 2])

    def transform(array, order, outside):
        return ndimage.affine_transform(
            array, matrix, offset, (rows, columns), order=order, mode="constant", cval=outside
        )

    found = window.subsampled_label(label, 1, 0, 255)
    expected = transform(label, 0, 255)
    inside = ndimage.binary_erosion(expected != 255, iterations=1, border_value=1)
    assert 0.5 < inside.mean() < 0.99  # a part is outside the image
    assert np.mean(found[inside] == expected[inside]) > 0.999  # but for points between two pixels
    crop = window.cut(image)
    expected = np.rint(transform(image[..., 1].astype("float64"), 1, 0))
    assert np.abs(crop[..., 1] - expected)[inside].max() <= 1
    np.testing.assert_array_equal(
        crop[found == 255], np.broadcast_to(FILL, crop.shape)[found == 255]
    )


def test_a_rotated_window_skips_no_pixel():
    """One bright pixel in 4 x 4 is seen at a quarter of the size."""
    image = np.zeros((64, 64, 3), "uint8")
    image[::4, ::4] = 160
    window = RotatedWindow((0, 0, 64, 64), (16, 16), 30.0, (64, 64), FILL)
    inner = window.cut(image)[6:10, 6:10]
    np.testing.assert_allclose(inner, 10, atol=1)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
def test_the_blur_is_scipys(sigma):
    image = np.random.default_rng(0).integers(0, 65536, (31, 17, 2)).astype("uint16")
    options = {"sigma": (sigma, sigma, 0), "mode": "nearest", "truncate": 3.0}
    expected = ndimage.gaussian_filter(image.astype("float64"), **options)
    found = blur_image(image, sigma)
    assert found.dtype == "uint16"
    np.testing.assert_allclose(found, expected, atol=0.6)
    np.testing.assert_array_equal(blur_image(image, 0.0), image)


def test_resolution_is_lost():
    image = np.zeros((8, 12, 4), "uint8")
    image[:, ::2] = 200  # stripes of one pixel
    found = lose_resolution(image, 2.0)
    np.testing.assert_allclose(found[:, 4:8], 100, atol=1)
    np.testing.assert_array_equal(lose_resolution(image, 1.0), image)
    assert lose_resolution(image, 100.0).std() == 0


def test_rotated_images_and_labels_stay_aligned():
    dataset = Levels()
    options = {"rotation": 40, "pad_color": FILL, "scale_range": (0.6, 1.7)}
    sharp = unlabelled = 0
    for images, labels in take(dataset, **options):
        assert set(np.unique(labels)) <= {0, 1, 2, 3, 255}
        outside = labels == 255
        unlabelled += outside.mean() / 8
        np.testing.assert_array_equal(images[outside], np.broadcast_to(FILL, images.shape)[outside])
        # Pixels between two classes are mixtures.
        sharp += np.mean(np.abs(images[..., 0] - 80 * labels)[~outside] <= 1) / 8
        mixed = np.abs(images[..., 0] - 80 * labels)[~outside] > 121
        assert mixed.mean() < 0.01  # and never nearer to a class three levels away
    assert sharp > 0.75
    assert 0.02 < unlabelled < 0.6
    # What lies elsewhere in the image comes into the corners of a crop of its middle.
    assert not (take(dataset, crop_size=(8, 8), rotation=40)[0][1] == 255).all()


def test_labels_at_a_stride_are_those_of_the_pixels():
    options = {"rotation": 25, "crop_size": (40, 48)}
    for (images, labels), (same, fine) in zip(
        take(Levels(), label_stride=8, label_start=3, **options),
        take(Levels(), **options),
        strict=True,
    ):
        np.testing.assert_array_equal(images, same)
        np.testing.assert_array_equal(labels, fine[:, 3::8, 3::8])


def test_other_choices_do_not_depend_on_what_is_on():
    dataset = Levels()
    options = {"color_jitter": 0.4, "seed": 5}
    plain = take(dataset, **options)
    # A blur of no radius and an angle of 0 change nothing: the other draws are the same.
    for (image, label), (other, other_label) in zip(
        plain, take(dataset, blur=1e-6, **options), strict=True
    ):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(label, other_label)
    # A blur leaves the label map as it is, and changes the image.
    for (image, label), (other, other_label) in zip(
        plain, take(dataset, blur=3, downscale=3, **options), strict=True
    ):
        np.testing.assert_array_equal(label, other_label)
        assert np.abs(np.diff(other, axis=1)).mean() < np.abs(np.diff(image, axis=1)).mean()
    alone, together = Augmentation(blur=2.0), Augmentation(90.0, 2.0, 3.0)
    assert alone.draw(1, 7).sigma == together.draw(1, 7).sigma


def test_draws_reach_from_none_to_the_largest():
    changes = [Augmentation(30.0, 2.0, 3.0).draw(0, position) for position in range(500)]
    lowest, highest = np.min(changes, 0), np.max(changes, 0)
    np.testing.assert_allclose(lowest, (-30, 0, 1), atol=0.5)
    np.testing.assert_allclose(highest, (30, 2, 3), atol=0.5)


def test_changed_crops_are_the_same_from_any_step():
    options = {"rotation": 20, "blur": 1.0, "downscale": 2.0, "color_jitter": 0.2}
    first, late = take(Levels(), 5, **options), take(Levels(), 2, start_step=3, **options)
    for (image, label), (other, other_label) in zip(first[3:], late, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(label, other_label)


@pytest.mark.parametrize("wrong", [{"rotation": -1}, {"blur": -0.5}, {"downscale": 0.5}])
def test_values_out_of_range(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"{name} must be at least \d\. Received: {name}={value}"):
        take(Levels(), **wrong)
