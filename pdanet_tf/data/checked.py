"""Checks what code of the user's own returns: `read` of a data set, or an augmentation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError

_VALUES_SHOWN = 10


class CheckedDataset(SegmentationDataset):
    """Wraps a data set of the user's own, and checks every image and label map that it returns.

    Every error of its `read` becomes a `DataError` that names the image.

    Args:
        dataset: The data set.
        argument: The argument that it was passed as, for messages: "train_data".

    Raises:
        DataError: If the data set is empty, or its classes or `void_label` cannot be used.
    """

    def __init__(self, dataset: SegmentationDataset, argument: str) -> None:
        self._dataset = dataset
        self._argument = argument
        classes = getattr(dataset, "classes", None)
        if not isinstance(classes, Classes):
            raise DataError(
                f"{argument} must have the attribute `classes`, a pdanet_tf.data.Classes: call "
                f"super().__init__(classes) in {type(dataset).__name__}.__init__. "
                f"Received: classes={classes!r}"
            )
        super().__init__(classes)
        self.void_label = dataset.void_label
        self.label_offset = dataset.label_offset
        self.mean = dataset.mean
        self.std = dataset.std
        if self.void_label in range(self.num_classes):
            raise DataError(
                f"The void_label of {argument} must not be a class, 0 to {self.num_classes - 1}. "
                f"Received: void_label={self.void_label}"
            )
        if not len(self):
            raise DataError(f"{argument} must have at least one image. Received: an empty data set")

    @property
    def pixel_format(self) -> PixelFormat:
        """Number of channels of the images, and type of their values."""
        return self._dataset.pixel_format

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, index: int) -> str:
        """Returns the name of an image.

        Raises:
            DataError: If the data set returns anything else but a string.
        """
        name = self._dataset.name(index)
        if not isinstance(name, str):
            raise DataError(
                f"name({index}) of {self._argument} must return a string. "
                f"Received: {type(name).__name__}"
            )
        return name

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image."""
        if type(self._dataset).size is SegmentationDataset.size:
            return super().size(index)  # calls `read`, which checks
        return self._dataset.size(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map; see `SegmentationDataset.read`.

        Raises:
            DataError: If the data set raises an error, or returns anything else.
        """
        source = f"{self.name(index)}: read({index}) of {self._argument}"
        with _as_data_errors(source):
            found = self._dataset.read(index)
        return check_pair(found, source, self)

    def read_label_map(self, index: int) -> np.ndarray:
        """Returns the label map alone; see `SegmentationDataset.read_label_map`.

        Raises:
            DataError: As `read`.
        """
        if type(self._dataset).read_label_map is SegmentationDataset.read_label_map:
            return self.read(index)[1]
        source = f"{self.name(index)}: read_label_map({index}) of {self._argument}"
        with _as_data_errors(source):
            label = self._dataset.read_label_map(index)
        _check_label_map(label, source, self)
        return label

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of an annotation; see `SegmentationDataset.hash_annotation`."""
        return self._dataset.hash_annotation(index)

    def check(self) -> None:
        """Calls `check` of the data set, and checks its first image and label map.

        Raises:
            DataError: If they have a problem.
        """
        self._dataset.check()
        self.read(0)


@contextmanager
def _as_data_errors(source: str) -> Iterator[None]:
    """Converts every error of the block to a `DataError` that names its source."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{source} raised {type(error).__name__}: {error}") from error


def check_pair(
    found: Any, source: str, dataset: SegmentationDataset
) -> tuple[np.ndarray, np.ndarray]:
    """Checks an image and its label map.

    Args:
        found: What should be an image, `(height, width, channels)`, of the channels and the type
            that `dataset.pixel_format` states; and a label map, `(height, width)`, int32, each
            label a class of `dataset` or its `void_label`.
        source: What returned it, for messages.
        dataset: The data set that the image comes from.

    Returns:
        The image and the label map.

    Raises:
        DataError: If it is anything else. The message says what was expected.
    """
    if not isinstance(found, tuple | list) or len(found) != 2:
        kind = f"{len(found)} values" if isinstance(found, tuple | list) else type(found).__name__
        raise DataError(f"{source} must return an image and a label map. Received: {kind}")
    image, label = found
    images = dataset.pixel_format
    shape = ("height", "width", images.channels)
    _check_array(image, f"{source} must return an image", shape, images.dtype or "float32")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise DataError(
            f"{source} must return finite values. Received an image with NaN or infinity"
        )
    _check_label_map(label, source, dataset)
    if image.shape[:2] != label.shape:
        raise DataError(
            f"{source} must return an image and a label map of one (height, width). Received: "
            f"{image.shape[:2]} and {label.shape}"
        )
    return image, label


def _check_label_map(label: Any, source: str, dataset: SegmentationDataset) -> None:
    """Raises if something is not a label map of a data set."""
    _check_array(label, f"{source} must return a label map", ("height", "width"), "int32")
    highest = dataset.num_classes - 1
    if label.min() < 0 or label.max() > highest:  # quick, and enough if all pixels are labelled
        wrong = label[((label < 0) | (label > highest)) & (label != dataset.void_label)]
        if wrong.size:
            values = np.unique(wrong)
            more = ", ..." if len(values) > _VALUES_SHOWN else ""
            raise DataError(
                f"{source} must return labels from 0 to {highest}, or {dataset.void_label} for "
                f"unlabelled pixels. Received: {', '.join(map(str, values[:_VALUES_SHOWN]))}{more}"
            )


def _check_array(array: Any, start: str, shape: tuple[str | int, ...], dtype: str) -> None:
    """Raises if something is not an array of a dtype and shape; names stand for any side."""
    expected = f"{start} of shape ({', '.join(map(str, shape))}) and dtype {dtype}"
    if not isinstance(array, np.ndarray):
        raise DataError(f"{expected}, a NumPy array. Received: {type(array).__name__}")
    fits = len(array.shape) == len(shape) and all(
        side > 0 if isinstance(wanted, str) else side == wanted
        for side, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        raise DataError(f"{expected}. Received: shape {array.shape} and dtype {array.dtype}")
