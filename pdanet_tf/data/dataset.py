"""What every source of images and labels has in common."""

from abc import ABC, abstractmethod

import numpy as np

from pdanet_tf.data.classes import Classes


class SegmentationDataset(ABC):
    """One split of a data set: images with labels, read one at a time.

    Attributes:
        classes: Names and colours.
        ignore_label: The label of pixels that do not count, in what `read` returns: 255, or
            65535 for data sets of more than 255 classes.
        label_offset: The number of the first class in the data set's own files: 1 in ADE20K.
    """

    label_offset: int = 0

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.ignore_label = ignore_label(len(classes))

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of images."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Returns the name of an image, without folder and ending."""

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its labels.

        Returns:
            The image, `(height, width, 3)`, uint8, RGB; and the labels, `(height, width)`,
            int32, each a class from 0 or `ignore_label`.
        """

    @abstractmethod
    def check(self) -> None:
        """Raises `DataError` if something is wrong with the files, before anyone trains."""


def ignore_label(num_classes: int) -> int:
    """Returns the label of pixels that do not count, for so many classes."""
    return 255 if num_classes <= 255 else 65535
