"""The images that a model segments worst, as small copies."""

import heapq
import itertools
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.display import to_rgb
from pdanet_tf.inference.overlay import colorize

_KEPT = 12  # images
_EDGE = 320  # long edge of their copies in pixels
_WRONG = (230, 30, 60)  # colour of wrong pixels
_DIMMED = 0.35  # brightness of the image below them


@dataclass(frozen=True)
class Sample:
    """One image with its label map and what was predicted.

    Attributes:
        name: Name of the image.
        image: `(height, width, channels)`.
        label: The label map, `(height, width)`.
        prediction: The predicted classes, `(height, width)`.
        confidence: The probability of each pixel's predicted class, `(height, width)`; None if it
            is not known.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class WorstImage:
    """An image with a low score, and what was predicted.

    Attributes:
        name: Name of the image in the data set.
        mean_iou: Mean IoU over the classes that occur in its label map or in the prediction.
        image: The image, RGB, at most 320 pixels long.
        label: The label map in the class colours, likewise; unlabelled pixels are black.
        prediction: The prediction in the class colours, likewise.
        errors: The image in dark grey, likewise; labelled pixels that are predicted wrongly are
            red.
    """

    name: str
    mean_iou: float
    image: Image.Image
    label: Image.Image
    prediction: Image.Image
    errors: Image.Image

    @property
    def overlay(self) -> Image.Image:
        """The prediction over the image."""
        return Image.blend(self.image, self.prediction, 0.6)


@dataclass
class WorstImages:
    """Keeps the images of the lowest scores, as small copies.

    Args:
        classes: Names and colours.
    """

    classes: Classes
    _heap: list[tuple[float, int, WorstImage]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, score: float, sample: Sample) -> None:
        """Takes an image if its score is among the lowest; of equal ones the first is kept."""
        if len(self._heap) == _KEPT and -score <= self._heap[0][0]:
            return
        label, prediction = sample.label, sample.prediction
        image = _resized(to_rgb(sample.image), (label.shape[0], label.shape[1]))
        labelled = (label >= 0) & (label < len(self.classes))
        kept = WorstImage(
            sample.name,
            score,
            _reduced(image),
            _reduced(colorize(label, self.classes)),
            _reduced(colorize(prediction, self.classes)),
            _reduced(_mark(image, labelled & (label != prediction))),
        )
        entry = (-score, -next(self._numbers), kept)
        if len(self._heap) < _KEPT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def images(self) -> tuple[WorstImage, ...]:
        """Returns what was kept, the lowest score first."""
        return tuple(image for _, _, image in sorted(self._heap, key=_order))


def _order(entry: tuple[float, int, WorstImage]) -> tuple[float, int]:
    return -entry[0], -entry[1]


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns an image at the size (height, width) of its label map, which may be another one."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1]))


def _mark(image: np.ndarray, is_wrong: np.ndarray) -> np.ndarray:
    """Returns the image in dark grey, with pixels marked in red, `(height, width, 3)`, uint8."""
    grey = (_DIMMED * image.mean(-1, keepdims=True)).astype("uint8").repeat(3, -1)
    grey[is_wrong] = _WRONG
    return grey


def _reduced(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((_EDGE, _EDGE))
    return image
