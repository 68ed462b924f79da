"""Validates one image with its label map."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pdanet_tf.data.problems import DataError, Problem

_SHORTEST_EDGE = 32  # most backbones reduce 32 pixels to one position
_LARGEST_ASPECT_RATIO = 8
_MOST_PIXELS = 25_000_000


@dataclass
class ImageReport:
    """Properties and problems of one image and its label map.

    Attributes:
        file: Path of the image.
        problems: Problems of the image and of its annotation.
        size: (height, width) of the image; None if it cannot be read.
        pixels: Number of pixels of each class, `(num_classes,)`; None if the label map cannot be
            read.
        ignored: Number of unlabelled pixels.
        values: The values that occur in the label map, as stored.
        image_hash: Hash of the pixels of the image; None if they were not read.
        label_hash: Hash of the label map; None if the image or the label map was not read.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    ignored: int = 0
    values: list[int] = field(default_factory=list)
    image_hash: bytes | None = None
    label_hash: bytes | None = None

    @contextmanager
    def collecting_errors(self) -> Iterator[None]:
        """Turns a `DataError` or `OSError` of the block into a problem of the report."""
        try:
            yield
        except DataError as error:
            self.problems.append(error.problem(self.file))
        except OSError as error:
            self.problems.append(
                Problem(
                    self.file, "unusable", f"cannot be read: {error}", "Replace or remove the file"
                )
            )

    def add_image(self, image: np.ndarray) -> None:
        """Records size and hash of an image `(height, width, channels)`, and an extreme size."""
        self.size = (image.shape[0], image.shape[1])
        self.image_hash = _hash(image)
        short, long = sorted(self.size)
        if short < _SHORTEST_EDGE:
            advice = "Remove it, or enlarge it together with its annotation"
        elif long > _LARGEST_ASPECT_RATIO * short:
            advice = "Cut it into pieces, or remove it"
        elif short * long > _MOST_PIXELS:
            advice = "Shrink it together with its annotation: every epoch decodes the whole image"
        else:
            return
        self.problems.append(
            Problem(
                self.file,
                "extreme size",
                f"the image is {self.size[0]} x {self.size[1]} (height x width)",
                advice,
                "warning",
            )
        )

    def add_label_map(self, label: np.ndarray, classes: range, file: str) -> np.ndarray:
        """Records the values of a label map, and warns if no pixel has a class.

        Args:
            label: `(height, width)`, integers.
            classes: The values that stand for classes.
            file: The annotation, for messages.

        Returns:
            The values that occur, in ascending order.
        """
        values, counts = _count(label)
        inside = (values >= classes.start) & (values < classes.stop)
        self.pixels = np.zeros(len(classes), "int64")
        self.pixels[values[inside] - classes.start] = counts[inside]
        self.ignored = int(counts[~inside].sum())
        self.values = values.tolist()
        if self.image_hash is not None:
            self.label_hash = _hash(label)
        if not inside.any():
            self.problems.append(
                Problem(
                    file,
                    "nothing labelled",
                    "no pixel has a class",
                    "Remove the image and its annotation, or label them",
                    "warning",
                )
            )
        return values


def size_problem(
    file: str, size: tuple[int, ...], label_size: tuple[int, ...], swaps_sides: bool = False
) -> Problem:
    """Returns the problem that an image and its label map differ in size.

    Args:
        file: Path of the image.
        size: (height, width) of the image.
        label_size: (height, width) of the label map.
        swaps_sides: Whether the image's EXIF orientation exchanges height and width.
    """
    text = (
        f"the image is {size[0]} x {size[1]} (height x width), its annotation "
        f"{label_size[0]} x {label_size[1]}"
    )
    advice = "Save both at one size, or remove them"
    if swaps_sides and size == label_size[::-1]:
        text += "; the image is stored rotated (EXIF orientation)"
        advice = "Save the image upright"
    return Problem(file, "different sizes", text, advice)


def _count(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same as `np.unique(label, return_counts=True)`, without sorting the pixels."""
    if label.size and label.min() >= 0 and label.max() <= 65535:
        counts = np.bincount(label.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    values, counts = np.unique(label, return_counts=True)
    return values, counts


def _hash(array: np.ndarray) -> bytes:
    """Returns a hash of an array's shape and content."""
    digest = hashlib.sha1(str(array.shape).encode(), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
