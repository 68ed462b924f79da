"""The paper recipe, as in the reference: batches by orientation, each with its own short edge."""

import functools
import math

import numpy as np
from PIL import Image

from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.bands import as_array, as_image
from pdanet_tf.data.batches.augment_function import AugmentFunction
from pdanet_tf.data.batches.sampling import (
    Sample,
    nearest_indices,
    shuffled,
    subsample_label,
    variation,
)
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError

_MULTIPLE = 8  # the sides of a batch are multiples of it, whatever the stride of the labels


class PaperRecipe:
    """Samples of `pdanet_tf.data.batches.pipeline.paper_batches`, which describes the arguments.

    Creating it reads the size of every image.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        batch_size: int,
        short_edges: tuple[int, ...],
        max_size: int,
        flip: bool,
        label_stride: int,
        label_start: int | None,
        seed: int,
        augment: AugmentFunction | None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.short_edges = short_edges
        self.max_size = max_size
        self.flip = flip
        self.label_stride = label_stride
        self.label_start = label_start
        self.seed = seed
        self.augment = augment
        self._sizes = _read_sizes(dataset)
        portrait = self._sizes[:, 0] > self._sizes[:, 1]
        self._batches = OrientationBatches(portrait, batch_size, seed)

    def sample(self, position: int) -> Sample:
        """Returns the sample at a position of the endless stream."""
        step, place = divmod(position, self.batch_size)
        indices = self._batches.indices(step)
        rng = variation(self.seed, step)
        short_edge = self.short_edges[rng.integers(len(self.short_edges))]
        flipped = self.flip and rng.random(self.batch_size)[place] < 0.5
        scaled = self._scaled(indices, short_edge)
        multiple = math.lcm(_MULTIPLE, self.label_stride)
        padded = -(-scaled.max(0) // multiple) * multiple
        height, width = scaled[place].tolist()
        image, label = self._load(int(indices[place]), (height, width), flipped, position)
        return Sample(image, label, (int(padded[0]), int(padded[1])))

    def _scaled(self, indices: np.ndarray, short_edge: int) -> np.ndarray:
        """Returns the scaled (height, width) of each image of a batch, `(batch_size, 2)`."""
        sizes = self._sizes[indices]
        scales = np.minimum(short_edge / sizes.min(1), self.max_size / sizes.max(1))
        return np.maximum((sizes * scales[:, None]).astype("int64"), 1)

    def _load(
        self, index: int, size: tuple[int, int], flipped: bool, position: int
    ) -> tuple[np.ndarray, np.ndarray]:
        image, label = self.dataset.read_pil(index)
        if label.shape != tuple(self._sizes[index]):
            raise DataError(
                f"{self.dataset.name(index)}: the image is {label.shape[0]} x {label.shape[1]} "
                f"(height x width), but was {self._sizes[index][0]} x {self._sizes[index][1]} "
                "when the run began; do not change the data during a run"
            )
        if self.augment:
            pixels, label = self.augment(as_array(image), label, index, position)
            image = as_image(pixels)
        height, width = size
        rows = nearest_indices(label.shape[0], height)
        columns = nearest_indices(label.shape[1], width)
        if flipped:
            # The image is flipped before it is scaled, as in the reference; scaling first would
            # change some pixels by one level.
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            columns = label.shape[1] - 1 - columns
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        label = subsample_label(label, rows, columns, self.label_stride, self.label_start)
        return np.asarray(image), label


def _read_sizes(dataset: SegmentationDataset) -> np.ndarray:
    return np.array(list(map_in_threads(dataset.size, len(dataset))), "int64")


class OrientationBatches:
    """Assigns samples to batches, portrait with portrait and landscape with landscape.

    Each pass over the data has its own order. Each sample is appended to the list of its
    orientation; when a list has `batch_size` samples, they become a batch and the list is emptied.
    The samples left at the end of a pass stay in the lists for the next pass.

    Any batch can be computed without the batches before it: every pass has the same number of
    portraits, so the position of a batch in the endless sequence of portraits determines its pass.

    Args:
        portrait: `(samples,)`, whether each sample is higher than wide.
        batch_size: Number of samples per batch.
        seed: Seed of the orders.
    """

    def __init__(self, portrait: np.ndarray, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self._count = len(portrait)
        self._groups = [group for group in (portrait, ~portrait) if group.any()]
        self._sizes = [int(group.sum()) for group in self._groups]
        # Threads read two batches at the same time; these belong to one pass or to two.
        self._pass_batches = functools.lru_cache(maxsize=2)(self._compute_pass_batches)

    def indices(self, step: int) -> np.ndarray:
        """Returns the indices of the samples of a batch, `(batch_size,)`."""
        # Starts at the pass that contains the batch, or a few passes before it.
        number = step * self.batch_size // self._count
        while self._batches_before(number + 1) <= step:
            number += 1
        return self._pass_batches(number)[step - self._batches_before(number)]

    def _batches_before(self, number: int) -> int:
        """Returns the number of batches that are complete before a pass begins."""
        return sum(number * size // self.batch_size for size in self._sizes)

    def _compute_pass_batches(self, number: int) -> np.ndarray:
        """Returns the batches that a pass completes, in order, `(batches, batch_size)`."""
        order = self._order(number)
        batches, ends = [], []
        for group in self._groups:
            places = np.flatnonzero(group[order])
            # Positions in the endless sequence of this orientation: the start of the pass, and the
            # first sample of the batch that is incomplete at that time.
            start = number * len(places)
            first = start // self.batch_size * self.batch_size
            oldest = first // len(places)
            waiting = [self._members(group, earlier) for earlier in range(oldest, number)]
            queue = np.concatenate([*waiting, order[places]])[first - oldest * len(places) :]
            full = len(queue) // self.batch_size
            batches.append(queue[: full * self.batch_size].reshape(full, self.batch_size))
            ends.append(places[first - start - 1 + self.batch_size * np.arange(1, full + 1)])
        return np.concatenate(batches)[np.argsort(np.concatenate(ends))]

    def _members(self, group: np.ndarray, number: int) -> np.ndarray:
        order = self._order(number)
        return order[group[order]]

    def _order(self, number: int) -> np.ndarray:
        return shuffled(self.seed, number, self._count)
