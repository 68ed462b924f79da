"""Calls an augmentation of the user's own, and checks what it returns."""

import inspect
from collections.abc import Callable

import numpy as np

from pdanet_tf.data.batches.sampling import OWN_VARIATION, variation
from pdanet_tf.data.checked import check_pair
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError

# From an image, a label map, and (if it has a parameter `rng`) a random generator to both arrays.
Augment = Callable[..., tuple[np.ndarray, np.ndarray]]


class AugmentFunction:
    """A function of the user's own from an image and its label map to both, changed.

    It is called with whole images, before the recipe scales and crops them, from several threads
    at the same time. The arrays belong to it: it may change them in place.

    A parameter `rng` of the function receives a `numpy.random.Generator` that depends only on the
    seed and on the position of the sample in the endless stream of training samples. A function
    that draws all its random numbers from it gives the same samples in every run with this seed,
    and in a resumed run.

    Args:
        function: It takes an image, `(height, width, 3)`, uint8, RGB, or of the channels and the
            type of `dataset`; a label map,
            `(height, width)`, int32, each label a class of `dataset` or its `void_label`; and
            optionally `rng`. It returns an image and a label map with the same channels, dtypes
            and labels, of any (height, width).
        dataset: The data set that the images come from.
        seed: Seed of the run.
        keeps_size: Whether the function must not change the (height, width).

    Raises:
        TypeError: If the function cannot be called with these arguments.
    """

    def __init__(
        self, function: Augment, dataset: SegmentationDataset, seed: int, keeps_size: bool = False
    ) -> None:
        self._takes_rng = check_augment(function)
        self._function = function
        self._dataset = dataset
        self._seed = seed
        self._keeps_size = keeps_size

    def __call__(
        self, image: np.ndarray, label: np.ndarray, index: int, position: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map, changed.

        Args:
            image: `(height, width, channels)`; not changed.
            label: `(height, width)`, int32; not changed.
            index: Index of the image in the data set.
            position: Position in the stream of samples.

        Raises:
            DataError: If the function raises an error or returns anything else. The message names
                the image.
        """
        source = f"{self._dataset.name(index)}: augment"
        options = {}
        if self._takes_rng:
            options["rng"] = variation(self._seed, position, OWN_VARIATION)
        try:
            found = self._function(image.copy(), label.copy(), **options)
        except Exception as error:
            raise DataError(f"{source} raised {type(error).__name__}: {error}") from error
        changed = check_pair(found, source, self._dataset)
        if self._keeps_size and changed[1].shape != label.shape:
            raise DataError(
                f"{source} must not change the (height, width) with recipe 'paper', whose batches "
                f"are planned by the sizes of the images. Received: {changed[1].shape} instead of "
                f"{label.shape}"
            )
        return changed


def check_augment(function: Augment) -> bool:
    """Returns whether an augmentation takes a random generator, the parameter `rng`.

    Raises:
        TypeError: If it cannot be called with an image and a label map.
    """
    expected = "augment must be a function of an image and a label map, and optionally of rng"
    if not callable(function):
        raise TypeError(f"{expected}. Received: {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have none
        return False
    takes_rng = "rng" in signature.parameters
    try:
        signature.bind(None, None, **({"rng": None} if takes_rng else {}))
    except TypeError as error:
        raise TypeError(f"{expected}. Received: a function of {signature}: {error}") from None
    return takes_rng
