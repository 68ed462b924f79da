"""Parts that both recipes share: random numbers by position, and subsampled label maps."""

import functools
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from pdanet_tf.data.dataset import SegmentationDataset

# Independent streams of random numbers.
_ORDER, _VARIATION = 0, 1
EXTRA_VARIATION = 2  # changes of crops that are off by default
OWN_VARIATION = 3  # an augmentation of the user's own


class Sample(NamedTuple):
    """One sample of a batch.

    Attributes:
        image: `(height, width, channels)`, not padded: uint8; or float32 if the values of the data
            set are not uint8.
        label: `(rows, columns)`, int32, subsampled by the stride of the recipe.
        size: (height, width) to which the image is padded in its batch.
    """

    image: np.ndarray
    label: np.ndarray
    size: tuple[int, int]


class SampleSource(Protocol):
    """Maps each position in the endless stream of training samples to its sample."""

    @property
    def dataset(self) -> SegmentationDataset:
        """The data set that the samples come from."""

    def sample(self, position: int) -> Sample:
        """Returns the sample at a position, which does not depend on earlier calls."""


@functools.lru_cache(maxsize=8)
def shuffled(seed: int, number: int, count: int) -> np.ndarray:
    """Returns the order of `count` samples in one pass over the data, `(count,)`.

    Args:
        seed: Seed of the run.
        number: Number of the pass, from 0.
        count: Number of samples.
    """
    order = np.random.default_rng((seed, _ORDER, number)).permutation(count)
    order.setflags(write=False)  # the cache shares it
    return order


def variation(seed: int, number: int, stream: int = _VARIATION) -> np.random.Generator:
    """Returns the random generator of one sample, or of one batch, of a run."""
    return np.random.default_rng((seed, stream, number))


def nearest_indices(side: int, new_side: int, box: tuple[float, float] | None = None) -> np.ndarray:
    """Returns the indices of the rows (or columns) that a nearest-neighbour resize selects.

    It resizes the numbers 0, 1, 2 ... with Pillow itself: Pillow adds up rounded steps, so
    a formula would select other rows where two rows are equally near.

    Args:
        side: Number of rows of the label map.
        new_side: Number of rows of the result.
        box: Start and end of the part that is resized; None for all rows.

    Returns:
        `(new_side,)`, int32.
    """
    ramp = Image.fromarray(np.arange(side, dtype="int32")[None])
    start, end = box or (0, side)
    resized = ramp.resize((new_side, 1), Image.Resampling.NEAREST, box=(start, 0, end, 1))
    return np.asarray(resized)[0]


def subsample_label(
    label: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    stride: int,
    start: int | None = None,
) -> np.ndarray:
    """Resizes a label map to the given rows and columns, and subsamples the result by `stride`.

    Only the labels that remain are computed.

    Args:
        label: `(height, width)`.
        rows: Row of `label` for each row of the resized label map, see `nearest_indices`.
        columns: Column of `label` for each column of the resized label map.
        stride: Distance between two labels that remain, in the resized label map.
        start: Row and column of the first label; None takes the middle of its cell,
            `stride // 2`.
    """
    every = slice(stride // 2 if start is None else start, None, stride)
    return label[np.ix_(rows[every], columns[every])]
