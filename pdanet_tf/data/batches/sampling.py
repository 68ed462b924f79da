"""What the recipes have in common: random numbers by position, and labels at a coarser grid."""

import functools
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

# Streams of random numbers that have nothing to do with each other.
_ORDER, _VARIATION = 0, 1


class Sample(NamedTuple):
    """One sample of a batch.

    Attributes:
        image: `(height, width, 3)`, uint8, RGB, not padded.
        label: `(rows, columns)`, int32: every so many labels, as the recipe says.
        size: Height and width that the image has when it is padded like its batch.
    """

    image: np.ndarray
    label: np.ndarray
    size: tuple[int, int]


class Recipe(Protocol):
    """Turns positions in the endless stream of training samples into samples."""

    def sample(self, position: int) -> Sample:
        """Returns the sample at a position: always the same, whatever was asked for before."""


@functools.lru_cache(maxsize=8)
def shuffled(seed: int, number: int, count: int) -> np.ndarray:
    """Returns the order in which `count` samples come in a pass over the data.

    Args:
        seed: Seed of the run.
        number: Number of the pass, from 0.
        count: Number of samples.
    """
    order = np.random.default_rng((seed, _ORDER, number)).permutation(count)
    order.setflags(write=False)  # it is shared
    return order


def variation(seed: int, number: int) -> np.random.Generator:
    """Returns the random numbers of one sample, or of one batch, of a run."""
    return np.random.default_rng((seed, _VARIATION, number))


def nearest_indices(side: int, new_side: int, box: tuple[float, float] | None = None) -> np.ndarray:
    """Returns which rows (or columns) a resize by nearest neighbour takes.

    Pillow itself is asked, by a resize of the numbers 0, 1, 2 ...: it adds up steps, so that a
    formula would differ from it at some ties.

    Args:
        side: Number of rows that there are.
        new_side: Number of rows of the result.
        box: Where the part that is resized begins and ends; None for the whole.

    Returns:
        `(new_side,)`, int32.
    """
    ramp = Image.fromarray(np.arange(side, dtype="int32")[None])
    start, end = box or (0, side)
    resized = ramp.resize((new_side, 1), Image.Resampling.NEAREST, box=(start, 0, end, 1))
    return np.asarray(resized)[0]


def thin_out(
    label: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    stride: int,
    start: int | None = None,
) -> np.ndarray:
    """Subsamples the given rows and columns of labels by `stride`.

    The first label is that at `start`; None takes the middle of its cell, `stride // 2`.

    That is what the resized label, reduced by nearest neighbour, would hold; but most of it is
    never computed.
    """
    every = slice(stride // 2 if start is None else start, None, stride)
    return label[np.ix_(rows[every], columns[every])]
