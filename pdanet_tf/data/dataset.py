"""The base class of all data sets: one split, read one image at a time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.arrays import check_pixels
from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.data.bands import BandImage, as_image
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.validation.image import ImageReport, size_problem


class SegmentationDataset(ABC):
    """One split of a data set: images with label maps, read one at a time.

    Attributes:
        classes: Names and colours.
        void_label: The label of unlabelled pixels in what `read` returns: 255, or 65535 for data
            sets of more than 255 classes. (The `ignore_label` of a `FolderDataset` is the value
            of such pixels in the annotation files.)
        label_offset: The value of the first class in the annotation files: 1 in ADE20K.
        problems: Problems of the data set as a whole that did not prevent opening it.
        mean: Mean of each channel, in the values of `read`; None if it is not given: training then
            takes that of the model's normalisation for RGB images, and measures it for others.
        std: Standard deviation of each channel, likewise.
    """

    label_offset: int = 0
    problems: Sequence[Problem] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.void_label = 255 if len(classes) <= 255 else 65535

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def pixel_format(self) -> PixelFormat:
        """Number of channels of the images, and type of their values; RGB with 8 bits by default.

        A data set of other images overrides this.
        """
        return RGB

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of images."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Returns the name of an image, without folder and extension."""

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map.

        Returns:
            The image, `(height, width, 3)`, uint8, RGB, or of the channels and the type that
            `pixel_format` states; and the label map, `(height, width)`, int32, each label a class
            from 0 or `void_label`.
        """

    def read_pil(self, index: int) -> tuple[Image.Image | BandImage, np.ndarray]:
        """Returns the same as `read`, but the image as a Pillow image, or with its methods.

        A subclass that decodes with Pillow can override this, which saves a conversion to an
        array and back.
        """
        image, label = self.read(index)
        return as_image(image), label

    def read_label_map(self, index: int) -> np.ndarray:
        """Returns the label map alone, as `read` does.

        A subclass that can read annotations without decoding images should override this.
        """
        return self.read(index)[1]

    def shown_annotation(self, path: Path) -> np.ndarray | None:
        """Returns a file of annotations for people to look at.

        A subclass whose annotations are files should override this.

        Args:
            path: Any file.

        Returns:
            The label map, `(height, width)`, in which values out of range are `void_label`; None if
            the file is not an annotation of this split.
        """
        return None

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of an annotation and of how its values become labels.

        Equal hashes mean equal label maps. None means that there is no hash that is cheaper than
        reading the label map.
        """
        return None

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image.

        A subclass that knows the size without decoding the image should override this.
        """
        height, width = self.read(index)[1].shape
        return height, width

    @abstractmethod
    def check(self) -> None:
        """Raises `DataError` if the files have a problem that training would run into."""

    def examine(self, index: int) -> ImageReport:
        """Reads an image and its label map, and returns their properties and problems."""
        report = ImageReport(self.name(index))
        with report.collecting_errors():
            image, label = self.read(index)
            if not self.pixel_format.is_rgb:
                with report.collecting_errors():
                    _check_pixels(report.file, image, self.pixel_format)
            report.add_image(image)
            if image.shape[:2] != label.shape:
                report.problems.append(size_problem(report.file, image.shape[:2], label.shape))
            values = report.add_label_map(label, range(self.num_classes), report.file)
            wrong = (values < 0) | (values >= self.num_classes)
            wrong &= values != self.void_label
            if wrong.any():
                report.problems.append(
                    Problem(
                        report.file,
                        "labels out of range",
                        f"read() returned the labels {', '.join(map(str, values[wrong][:10]))}",
                        f"Make read() return 0 to {self.num_classes - 1} or {self.void_label}",
                    )
                )
        return report


def _check_pixels(file: str, image: np.ndarray, pixel_format: PixelFormat) -> None:
    """Checks that `read` returned an image of the format that the data set states."""
    try:
        check_pixels(image, pixel_format)
    except ValueError as error:
        text = f"read() returned another image than pixel_format states: {error}"
        advice = f"Make read() return {pixel_format}"
        raise DataError(Problem(file, "other channels", text, advice)) from error
