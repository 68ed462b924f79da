"""Data and augmentations of one's own: what they get, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pdanet_tf.data import Classes, DataError, SegmentationDataset
from pdanet_tf.data.batches.augment_function import AugmentFunction
from pdanet_tf.data.batches.pipeline import crop_batches, paper_batches
from pdanet_tf.data.checked import CheckedDataset

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), "uint8")
LABEL = np.random.default_rng(1).integers(0, 3, (24, 32)).astype("int32")


class Own(SegmentationDataset):
    """Three equal images; `found` replaces what `read` returns."""

    def __init__(self, found=(IMAGE, LABEL), count=3):
        super().__init__(Classes.numbered(3))
        self.found = found
        self.count = count

    def __len__(self):
        return self.count

    def name(self, index):
        return f"photo {index}"

    def read(self, index):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def check(self):
        pass


def checked(*arguments, **options):
    return CheckedDataset(Own(*arguments, **options), "train_data")


def batches_of(augment, start_step=0, **options):
    options = {"crop_size": (16, 24), "label_stride": 1, "augment": augment, **options}
    batches = crop_batches(checked(), 2, start_step=start_step, **options)
    return [(images.numpy(), labels.numpy()) for images, labels in batches.take(4 - start_step)]


def test_a_data_set_of_ones_own_is_read_as_it_is():
    dataset = checked()
    dataset.check()
    for expected, found in zip((IMAGE, LABEL), dataset.read(2), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (len(dataset), dataset.name(1), dataset.size(0)) == (3, "photo 1", (24, 32))
    void = np.where(LABEL == 0, 255, LABEL).astype("int32")
    np.testing.assert_array_equal(checked((IMAGE, void)).read(0)[1], void)


WRONG = [
    (IMAGE, "must return an image and a label map. Received: ndarray"),
    ((IMAGE, LABEL, 1), "must return an image and a label map. Received: 3 values"),
    ((IMAGE / 255, LABEL), "dtype uint8. Received: shape (24, 32, 3) and dtype float64"),
    ((IMAGE[..., :1], LABEL), "shape (height, width, 3) and dtype uint8. Received: shape (24, 32"),
    ((IMAGE.tolist(), LABEL), "a NumPy array. Received: list"),
    ((IMAGE, LABEL.astype("uint8")), "dtype int32. Received: shape (24, 32) and dtype uint8"),
    ((IMAGE, LABEL[..., None]), "a label map of shape (height, width) and dtype int32. Received"),
    ((IMAGE[:0], LABEL[:0]), "Received: shape (0, 32, 3)"),
    ((IMAGE, LABEL[1:]), "of one (height, width). Received: (24, 32) and (23, 32)"),
    ((IMAGE, LABEL + 2), "labels from 0 to 2, or 255 for unlabelled pixels. Received: 3, 4"),
    ((IMAGE, LABEL - 1), "labels from 0 to 2, or 255 for unlabelled pixels. Received: -1"),
    (KeyError("mask"), "raised KeyError: 'mask'"),
]


@pytest.mark.parametrize(("found", "message"), WRONG)
def test_what_read_may_not_return(found, message):
    with pytest.raises(DataError) as error:
        checked(found).check()
    assert str(error.value).startswith("photo 0: read(0) of train_data ")
    assert message in str(error.value)


@pytest.mark.parametrize(("found", "message"), WRONG)
def test_what_an_augmentation_may_not_return(found, message):
    def augment(image, label):
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(DataError) as error:
        AugmentFunction(augment, checked(), 0)(IMAGE, LABEL, 1, 0)
    assert str(error.value).startswith("photo 1: augment ")
    assert message in str(error.value)


def test_data_sets_that_cannot_be_used():
    with pytest.raises(DataError, match="train_data must have at least one image"):
        checked(count=0)
    own = Own()
    own.void_label = 2
    with pytest.raises(DataError, match=r"void_label .* must not be a class.*void_label=2"):
        CheckedDataset(own, "train_data")
    own = Own()
    del own.classes
    with pytest.raises(DataError, match=r"call super\(\).__init__\(classes\) in Own"):
        CheckedDataset(own, "train_data")
    own = Own()
    own.name = lambda index: index
    with pytest.raises(DataError, match=r"name\(2\) of train_data must return a string"):
        CheckedDataset(own, "train_data").name(2)


def test_an_augmentation_sees_whole_images_and_may_change_their_size():
    seen = []

    def double(image, label):
        seen.append((image.shape, image.dtype, label.shape, label.dtype))
        label[:] = 2  # the arrays are its own
        return image.repeat(2, 0).repeat(2, 1), label.repeat(2, 0).repeat(2, 1)

    options = {"crop_size": (48, 64), "scale_range": (1.0, 1.0), "flip": False, "color_jitter": 0}
    for images, labels in batches_of(double, **options):
        np.testing.assert_array_equal(images[0], IMAGE.repeat(2, 0).repeat(2, 1))
        assert (labels == 2).all()
    assert set(seen) == {((24, 32, 3), np.dtype("uint8"), (24, 32), np.dtype("int32"))}
    assert LABEL.min() == 0  # the data set's array is as it was


def test_the_random_generator_belongs_to_the_sample():
    def noisy(image, label, rng):
        return rng.integers(0, 256, image.shape, "uint8"), label

    first, again = batches_of(noisy), batches_of(noisy, start_step=2)
    for (image, _), (other, _) in zip(first[2:], again, strict=True):
        np.testing.assert_array_equal(image, other)
    assert (first[0][0] != batches_of(noisy, seed=1)[0][0]).any()
    function = AugmentFunction(noisy, checked(), 0)
    expected = [function(IMAGE, LABEL, 0, position)[0] for position in range(20)]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda position: function(IMAGE, LABEL, 0, position)[0], range(20))]
    np.testing.assert_array_equal(found, expected)
    assert len({image.tobytes() for image in expected}) == 20


def test_the_recipes_own_choices_do_not_depend_on_an_augmentation():
    def same(image, label, rng):
        rng.random()
        return image, label

    for (image, label), (other, other_label) in zip(
        batches_of(None), batches_of(same), strict=True
    ):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(label, other_label)


def test_the_papers_recipe_keeps_sizes():
    def invert(image, label):
        return 255 - image, label

    options = {"short_edges": (24,), "flip": False, "label_stride": 1}
    images, _ = next(iter(paper_batches(checked(), 1, augment=invert, **options)))
    np.testing.assert_array_equal(images[0], 255 - IMAGE)
    cut = AugmentFunction(lambda image, label: (image[1:], label[1:]), checked(), 0, True)
    with pytest.raises(DataError, match=r"photo 0: augment must not change .*\(23, 32\) instead"):
        cut(IMAGE, LABEL, 0, 0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("flip", "Received: str"),
        (lambda image: image, r"a function of \(image\): too many"),
        (lambda image, label, seed: (image, label), "missing a required argument: 'seed'"),
    ],
)
def test_functions_that_cannot_be_called(function, message):
    with pytest.raises(TypeError, match=f"augment must be a function of an image .*{message}"):
        AugmentFunction(function, checked(), 0)
