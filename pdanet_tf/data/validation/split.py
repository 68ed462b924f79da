"""Validates a whole split: statistics of all its images, and what makes the split useless."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import Problem, raise_if_any
from pdanet_tf.data.validation.image import ImageReport

_BLACK_AND_WHITE = {0, 255}
_CHECK_VALUES = "Check label_offset, ignore_label and the values in the annotations"
_EXAMPLES = 3


def _largest_first(example: tuple[int, int]) -> tuple[int, int]:
    return -example[0], example[1]


@dataclass
class SplitStatistics:
    """Statistics of the images and label maps of a split.

    Attributes:
        images: Number of images with an annotation, readable or not.
        pixels: Number of pixels of each class, `(num_classes,)`.
        images_per_class: Number of images in which each class occurs, `(num_classes,)`.
        ignored_pixels: Number of unlabelled pixels.
        sizes: Number of images of each (height, width).
        values: The values that occur in the annotations, as stored.
        examples: For each class (number of pixels, index) of the images in which it has the most
            pixels, up to three, the largest first.
    """

    images: int
    pixels: np.ndarray
    images_per_class: np.ndarray
    ignored_pixels: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    values: set[int] = field(default_factory=set)
    examples: list[list[tuple[int, int]]] = field(default_factory=list)
    _added: int = 0

    @classmethod
    def for_dataset(cls, dataset: SegmentationDataset) -> "SplitStatistics":
        """Returns empty statistics for a data set: `add` adds each of its images."""
        zeros = np.zeros(dataset.num_classes, "int64")
        examples: list[list[tuple[int, int]]] = [[] for _ in range(dataset.num_classes)]
        return cls(len(dataset), zeros, zeros.copy(), examples=examples)

    def add(self, report: ImageReport) -> None:
        """Adds an image; images are added in the order of their indices."""
        index, self._added = self._added, self._added + 1
        if report.size is not None:
            self.sizes[report.size] += 1
        if report.pixels is not None:
            self.pixels += report.pixels
            self.images_per_class += report.pixels > 0
            self.ignored_pixels += report.ignored
            self.values.update(report.values)
            if report.size is not None:
                self._add_examples(index, report.pixels)

    def _add_examples(self, index: int, pixels: np.ndarray) -> None:
        for label in np.flatnonzero(pixels):
            found = sorted([*self.examples[label], (int(pixels[label]), index)], key=_largest_first)
            self.examples[label] = found[:_EXAMPLES]

    @property
    def shares(self) -> np.ndarray:
        """The share of each class in the labelled pixels, from 0 to 1, `(num_classes,)`."""
        return self.pixels / max(int(self.pixels.sum()), 1)


def fatal_split_problems(
    name: str, dataset: SegmentationDataset, statistics: SplitStatistics
) -> Iterator[Problem]:
    """Yields the fatal problems that show only in a split as a whole.

    Args:
        name: Name of the split. If it begins with "train", the split must hold at least two
            classes.
        dataset: The split.
        statistics: Statistics of its images.
    """
    if not statistics.images and not dataset.problems:
        yield Problem(
            name, "empty split", "contains no images", "Set data_dir to the folder with the images"
        )
    if dataset.num_classes == 1:
        yield Problem(
            name,
            "one class",
            "there is only one class, so there is nothing to learn",
            "Count the background as a class, too: set num_classes=2, with 0 for the background "
            "and 1 for the other in the annotations",
        )
    occurring = np.flatnonzero(statistics.pixels)
    is_class = 255 in range(dataset.label_offset, dataset.label_offset + dataset.num_classes)
    if dataset.num_classes > 1 and statistics.values == _BLACK_AND_WHITE and not is_class:
        yield Problem(
            name,
            "0 and 255 for 0 and 1",
            f"all annotations contain only 0 and 255, and there are {dataset.num_classes} classes",
            "Replace 255, which marks unlabelled pixels, by the value of the class, or import the "
            "masks: pdanet-tf import-labels --format binary",
        )
    elif dataset.num_classes > 1 and occurring.size == 1 and name.startswith("train"):
        yield Problem(
            name,
            "one class occurs",
            f"every labelled pixel has the same class, {dataset.classes.names[occurring[0]]!r}, "
            "so there is nothing to learn",
            _CHECK_VALUES,
        )
    if statistics.ignored_pixels and not occurring.size:
        yield Problem(
            name,
            "no class anywhere",
            "no pixel of any annotation has a class",
            _CHECK_VALUES,
        )


def check_split(name: str, dataset: SegmentationDataset) -> None:
    """Raises if a split cannot be used as a whole.

    It reads images until two classes have occurred, which is after a few images of a sound split.

    Args:
        name: Name of the split, as in `fatal_split_problems`.
        dataset: The split.

    Raises:
        DataError: If an image that was read is unusable, or the split as a whole is.
    """
    statistics = SplitStatistics.for_dataset(dataset)
    problems: list[Problem] = []
    for index in range(len(dataset)):
        report = dataset.examine(index)
        problems += report.problems
        statistics.add(report)
        if np.count_nonzero(statistics.pixels) > 1:
            break  # two classes are enough to learn from, whatever the other images hold
    raise_if_any([*problems, *fatal_split_problems(name, dataset, statistics)])
