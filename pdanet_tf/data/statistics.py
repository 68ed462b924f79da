"""What a whole split comes to, and what of it makes training or scoring pointless."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import Examination
from pdanet_tf.data.problems import Problem, raise_if_any

_BLACK_AND_WHITE = {0, 255}
_LOOK = "Look at label_offset, ignore_label and the numbers in the files"


@dataclass
class SplitStatistics:
    """What the images and labels of a split come to.

    Attributes:
        images: Number of images with an annotation, readable or not.
        pixels: Number of pixels of each class, `(num_classes,)`.
        images_per_class: Number of images in which each class occurs, `(num_classes,)`.
        ignored_pixels: Number of pixels without a class.
        sizes: How many images there are of each (height, width).
        numbers: The numbers that occur in the annotations, as stored.
    """

    images: int
    pixels: np.ndarray
    images_per_class: np.ndarray
    ignored_pixels: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    numbers: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, dataset: SegmentationDataset) -> "SplitStatistics":
        """Returns the statistics of a data set before any of it was read."""
        zeros = np.zeros(dataset.num_classes, "int64")
        return cls(len(dataset), zeros, zeros.copy())

    def add(self, found: Examination) -> None:
        """Adds an image."""
        if found.size is not None:
            self.sizes[found.size] += 1
        if found.pixels is not None:
            self.pixels += found.pixels
            self.images_per_class += found.pixels > 0
            self.ignored_pixels += found.ignored
            self.numbers.update(found.numbers)

    @property
    def shares(self) -> np.ndarray:
        """The share of each class in the labelled pixels, from 0 to 1, `(num_classes,)`."""
        return self.pixels / max(int(self.pixels.sum()), 1)


def judge_split(
    name: str, dataset: SegmentationDataset, statistics: SplitStatistics
) -> Iterator[Problem]:
    """Yields what is fatal in a split as a whole, whatever its single files are like.

    Args:
        name: Name of the split; one that begins with "train" is to be learnt from.
        dataset: The split.
        statistics: What all of its images come to.
    """
    if not statistics.images and not dataset.problems:
        yield Problem(name, "empty split", "holds no images", "Set data_dir to where they are")
    if dataset.num_classes == 1:
        yield Problem(
            name,
            "one class",
            "there is one class only, which leaves nothing to learn",
            "Count the background as a class, too: set num_classes=2, with 0 for the background "
            "and 1 for the other in the annotations",
        )
    occurring = np.flatnonzero(statistics.pixels)
    is_class = 255 in range(dataset.label_offset, dataset.label_offset + dataset.num_classes)
    if dataset.num_classes > 1 and statistics.numbers == _BLACK_AND_WHITE and not is_class:
        yield Problem(
            name,
            "0 and 255 for 0 and 1",
            f"all annotations hold 0 and 255 only, and there are {dataset.num_classes} classes",
            "Write the number of the class in place of 255, which counts as no class",
        )
    elif dataset.num_classes > 1 and occurring.size == 1 and name.startswith("train"):
        yield Problem(
            name,
            "one class occurs",
            f"every labelled pixel is of one class, {dataset.classes.names[occurring[0]]!r}, which "
            "leaves nothing to learn",
            _LOOK,
        )
    if statistics.ignored_pixels and not occurring.size:
        yield Problem(
            name,
            "no class anywhere",
            "no pixel of any annotation has a class",
            _LOOK,
        )


def check_split(name: str, dataset: SegmentationDataset) -> None:
    """Reads as many images of a split as it takes to judge it: few, where all is well.

    Args:
        name: Name of the split, as in `judge_split`.
        dataset: The split.

    Raises:
        DataError: If an image that was read is unusable, or the split as a whole is.
    """
    statistics = SplitStatistics.of(dataset)
    problems: list[Problem] = []
    for index in range(len(dataset)):
        found = dataset.examine(index)
        problems += found.problems
        statistics.add(found)
        if np.count_nonzero(statistics.pixels) > 1:
            break  # whatever the others hold, two classes are something to learn
    raise_if_any([*problems, *judge_split(name, dataset, statistics)])
