"""Batches and statistics of images of any number of channels."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.bands import BandImage, as_image
from pdanet_tf.data.batches.augmentation import Augmentation
from pdanet_tf.data.batches.crop import CropRecipe, jitter_colors
from pdanet_tf.data.batches.paper import PaperRecipe
from pdanet_tf.data.batches.pipeline import crop_batches, paper_batches
from pdanet_tf.data.checked import CheckedDataset
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.statistics import channel_statistics


class InMemory(SegmentationDataset):
    """A data set of given images, whose labels are all 0 and 1."""

    def __init__(self, images):
        super().__init__(Classes.numbered(2))
        self.images = images

    @property
    def pixel_format(self):
        return PixelFormat(self.images[0].shape[-1], self.images[0].dtype.name)

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return str(index)

    def read(self, index):
        image = self.images[index]
        return image, np.indices(image.shape[:2]).sum(0).astype("int32") % 2

    def check(self):
        pass


def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, 50, 3)).astype("uint8") for height in (37, 41, 60, 64)]


@pytest.mark.parametrize("recipe", ["crop", "paper"])
def test_samples_equal_those_of_rgb(recipe):
    """Four channels of 8 bits are transformed to the bit as RGB, 16 bits to the rounding."""

    def samples(images):
        dataset = InMemory(images)
        if recipe == "crop":
            made = CropRecipe(dataset, (32, 40), None, (0.5, 2.0), True, 0.0, 8, None, 3)
        else:
            made = PaperRecipe(dataset, 2, (24, 40), 100, True, 8, None, 3, None)
        return [made.sample(position) for position in range(6)]

    rgb = samples(photos())
    eight = samples([image[..., [0, 1, 2, 0]] for image in photos()])
    sixteen = samples([image[..., [0, 1, 2, 0]].astype("uint16") * 257 for image in photos()])
    for ours, same, close in zip(rgb, eight, sixteen, strict=True):
        assert ours.size == same.size == close.size
        assert same.image.dtype == np.uint8
        np.testing.assert_array_equal(same.image, ours.image[..., [0, 1, 2, 0]])
        assert close.image.dtype == np.float32
        # Pillow rounds after each of two passes.
        np.testing.assert_allclose(close.image[..., :3] / 257, ours.image, atol=1.01)
        np.testing.assert_array_equal(close.label, ours.label)


def test_batches_are_padded_with_one_value_per_channel():
    dataset = InMemory([np.full((20, 20, 2), 300, "uint16")] * 2)
    batches = crop_batches(
        dataset, 2, (24, 40), scale_range=(1, 1), color_jitter=0, pad_color=(7, 8)
    )
    images, _ = next(iter(batches))
    assert images.shape == (2, 24, 40, 2)
    assert (images[:, :20, :20] == 300).numpy().all()
    np.testing.assert_array_equal(images[0, 23, 39], (7, 8))
    with pytest.raises(ValueError, match=r"pad_color must have one number per channel, 2"):
        crop_batches(dataset, 2, (24, 40), pad_color=(1, 2, 3))


def test_jitter_of_other_channels_changes_brightness_and_contrast():
    image = photos()[0][..., [0, 1, 2, 0]].astype("uint16") * 50 + 9000
    rng = np.random.default_rng(5)
    brightness, contrast = rng.uniform(0.8, 1.2, 3)[:2]
    means = image.mean((0, 1))
    expected = brightness * (contrast * image + (1 - contrast) * means)
    assert expected.min() > 0
    found = np.asarray(jitter_colors(as_image(image), 0.2, np.random.default_rng(5)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_jitter_of_rgb_with_16_bits_is_that_of_8_bits():
    image = photos()[0] // 4 + 96  # nothing is clipped
    photo, deep = (
        np.asarray(jitter_colors(each, 0.3, np.random.default_rng(2)))
        for each in (as_image(image), as_image(image.astype("uint16") * 257))
    )
    np.testing.assert_allclose(deep / 257, photo, atol=1.1)


def test_as_image():
    assert isinstance(as_image(photos()[0]), Image.Image)
    image = as_image(photos()[0][..., :2])
    assert isinstance(image, BandImage)
    assert (image.width, image.height, image.size) == (50, 37, (50, 37))
    assert np.asarray(image, "float32").dtype == np.float32


def test_statistics_are_those_of_all_pixels():
    images = [image[..., [0, 1, 2, 0]].astype("uint16") * 200 for image in photos()]
    for image in images:
        image[..., 3] = 9  # a channel of one value
    pixels = np.concatenate([image.reshape(-1, 4) for image in images]).astype("float64")
    mean, std = channel_statistics(InMemory(images), workers=2)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std[:3], pixels.std(0)[:3], rtol=1e-13)
    assert std[3] == 1
    # The variance of float32 values far from 0.
    far = [np.array([[[1e5]], [[1e5 + 1]]], "float32"), np.array([[[1e5 + 2]]], "float32")]
    np.testing.assert_allclose(channel_statistics(InMemory(far))[1], (2 / 3) ** 0.5, rtol=1e-9)
    with pytest.raises(ValueError, match="at least one image"):
        channel_statistics(InMemory([]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rotation_blur_and_lost_resolution_keep_the_values(dtype):
    """Values of small floats are not rounded, and the padding is not either."""
    scale = 1e-3 if dtype == "float32" else 1
    image = (np.stack([np.full((40, 48), 7 * scale), np.full((40, 48), 200 * scale)], -1)).astype(
        dtype
    )
    fill = (3.4 * scale, 5 * scale)
    recipe = CropRecipe(
        InMemory([image]),
        (40, 48),
        None,
        (1, 1),
        True,
        0.2,
        8,
        None,
        1,
        fill,
        Augmentation(rotation=40, blur=1, downscale=2),
    )
    sample = recipe.sample(0)
    rounded = (3 if dtype == "uint8" else 3.4 * scale, 5 * scale)
    outside = np.isclose(sample.image, rounded, rtol=1e-5).all(-1)
    assert 0 < outside.mean() < 0.6
    # Inside, the factors of brightness and contrast are the same for both channels.
    inside = sample.image[20, 24] / scale
    tolerance = 1 if dtype != "float32" else 0.1
    np.testing.assert_allclose(inside[1] * 7 / 200, inside[0], atol=tolerance)


def test_an_augmentation_of_ones_own_gets_the_type_of_the_data_set():
    seen = []

    def augment(image, label):
        seen.append((image.shape, image.dtype.name))
        return image[:, ::-1].copy(), label[:, ::-1].copy()

    images = [np.full((30, 40, 4), 60000, "uint16")] * 2
    for batches in (
        crop_batches(InMemory(images), 1, (16, 16), augment=augment, color_jitter=0),
        paper_batches(InMemory(images), 1, short_edges=(16,), augment=augment),
    ):
        image, _ = next(iter(batches))
        assert (image.numpy()[0, :16, :16] == 60000).all()
    assert {*seen} == {((30, 40, 4), "uint16")}


def test_a_checked_data_set_has_the_format_of_its_own():
    checked = CheckedDataset(InMemory([np.zeros((8, 8, 4), "uint16")]), "train_data")
    assert checked.pixel_format == PixelFormat(4, "uint16")
    assert checked.read(0)[0].shape == (8, 8, 4)
    wrong = InMemory([np.zeros((8, 8, 4), "uint16"), np.zeros((8, 8, 3), "uint16")])
    with pytest.raises(ValueError, match=r"\(height, width, 4\) and dtype uint16.*\(8, 8, 3\)"):
        CheckedDataset(wrong, "train_data").read(1)
