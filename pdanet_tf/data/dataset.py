"""What every source of images and labels has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.examination import Examination, size_problem
from pdanet_tf.data.problems import Problem


class SegmentationDataset(ABC):
    """One split of a data set: images with labels, read one at a time.

    Attributes:
        classes: Names and colours.
        void_label: The label of unlabelled pixels in what `read` returns: 255, or 65535 for data
            sets of more than 255 classes. The values that mark them in a folder's files are its
            `ignore_label`.
        label_offset: The number of the first class in the data set's own files: 1 in ADE20K.
        problems: What is wrong with the data set as a whole, where it was opened all the same.
    """

    label_offset: int = 0
    problems: Sequence[Problem] = ()

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.void_label = 255 if len(classes) <= 255 else 65535

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
            int32, each a class from 0 or `void_label`.
        """

    def read_picture(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns what `read` does, the image as one of Pillow's.

        Sources that decode with Pillow spare the way to an array and back.
        """
        image, label = self.read(index)
        return Image.fromarray(image), label

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image; sources that know it need not read it."""
        height, width = self.read(index)[1].shape
        return height, width

    @abstractmethod
    def check(self) -> None:
        """Raises `DataError` if something is wrong with the files, before anyone trains."""

    def examine(self, index: int) -> Examination:
        """Reads an image with its labels, and tells what is wrong with them."""
        found = Examination(self.name(index))
        with found.collecting():
            image, label = self.read(index)
            found.see_image(image)
            if image.shape[:2] != label.shape:
                found.problems.append(size_problem(found.file, image.shape[:2], label.shape))
            numbers = found.see_labels(label, range(self.num_classes), found.file)
            wrong = (numbers < 0) | (numbers >= self.num_classes)
            wrong &= numbers != self.void_label
            if wrong.any():
                found.problems.append(
                    Problem(
                        found.file,
                        "labels out of range",
                        f"was read with the labels {', '.join(map(str, numbers[wrong][:10]))}",
                        f"Have read() return 0 to {self.num_classes - 1} or {self.void_label}",
                    )
                )
        return found
