"""A close look at one image with its labels."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from pdanet_tf.data.problems import DataError, Problem

_SHORTEST_EDGE = 32  # what the deepest features of most backbones see as one position
_LONGEST_SHAPE = 8
_MOST_PIXELS = 25_000_000


@dataclass
class Examination:
    """What is found out about one image and its labels.

    Attributes:
        file: The image.
        problems: What is wrong with the two.
        size: (height, width) of the image; None where it cannot be read.
        pixels: Number of pixels of each class, `(num_classes,)`; None where the labels cannot be
            read.
        ignored: Number of pixels without a class.
        numbers: The numbers that occur in the labels, as stored.
        image_hash: The same for images of the same pixels; None where they were not read.
        label_hash: Likewise, of the labels of an image that was read.
    """

    file: str
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    ignored: int = 0
    numbers: list[int] = field(default_factory=list)
    image_hash: bytes | None = None
    label_hash: bytes | None = None

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Adds what goes wrong in its block to the problems."""
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

    def see_image(self, image: np.ndarray) -> None:
        """Takes note of an image `(height, width, 3)`."""
        self.size = (image.shape[0], image.shape[1])
        self.image_hash = _hash(image)
        short, long = sorted(self.size)
        if short < _SHORTEST_EDGE:
            advice = "Take it out, or enlarge it together with its annotation"
        elif long > _LONGEST_SHAPE * short:
            advice = "Cut it into pieces, or take it out"
        elif short * long > _MOST_PIXELS:
            advice = "Shrink it together with its annotation: every epoch reads it whole"
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

    def see_labels(self, label: np.ndarray, classes: range, file: str) -> np.ndarray:
        """Takes note of labels.

        Args:
            label: `(height, width)`, integers.
            classes: The numbers of the classes among them.
            file: Where the labels come from.

        Returns:
            The numbers that occur, in ascending order.
        """
        numbers, counts = _count(label)
        inside = (numbers >= classes.start) & (numbers < classes.stop)
        self.pixels = np.zeros(len(classes), "int64")
        self.pixels[numbers[inside] - classes.start] = counts[inside]
        self.ignored = int(counts[~inside].sum())
        self.numbers = numbers.tolist()
        if self.image_hash is not None:
            self.label_hash = _hash(label)
        if not inside.any():
            self.problems.append(
                Problem(
                    file,
                    "nothing labelled",
                    "no pixel has a class",
                    "Take image and annotation out, or label them",
                    "warning",
                )
            )
        return numbers


def size_problem(
    file: str, size: tuple[int, ...], label_size: tuple[int, ...], turned: bool = False
) -> Problem:
    """Says that an image and its labels differ in size.

    Args:
        file: The image.
        size: Its (height, width).
        label_size: That of the labels.
        turned: Whether the image's EXIF tag tells to lay it on its side.
    """
    text = (
        f"the image is {size[0]} x {size[1]} (height x width), its annotation "
        f"{label_size[0]} x {label_size[1]}"
    )
    advice = "Save both at one size, or take them out"
    if turned and size == label_size[::-1]:
        text += "; the image is stored turned (EXIF orientation)"
        advice = "Save the image upright"
    return Problem(file, "different sizes", text, advice)


def examine_all(
    examine: Callable[[int], Examination], count: int, workers: int | None = None
) -> Iterator[Examination]:
    """Yields `examine(0)` to `examine(count - 1)` in order, several at a time.

    In threads: decoding, counting and hashing all happen outside Python's lock, and a data set
    need not be sent to other processes. What was not yet asked for never piles up.

    Args:
        examine: What to call.
        count: How often.
        workers: Number of threads; None for one per core.
    """
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Examination]] = deque()
        for index in range(count):
            waiting.append(pool.submit(examine, index))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _count(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `np.unique(label, return_counts=True)` does, without sorting."""
    if label.size and label.min() >= 0 and label.max() <= 65535:
        counts = np.bincount(label.ravel())
        numbers = np.flatnonzero(counts)
        return numbers, counts[numbers]
    numbers, counts = np.unique(label, return_counts=True)
    return numbers, counts


def _hash(array: np.ndarray) -> bytes:
    """Returns a hash of an array's shape and content."""
    digest = hashlib.sha1(str(array.shape).encode(), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
