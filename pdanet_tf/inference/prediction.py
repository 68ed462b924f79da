"""The result of inference on an image."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.display import to_rgb
from pdanet_tf.inference.overlay import draw_overlay


@dataclass(frozen=True)
class Prediction:
    """The result of inference on an image.

    Attributes:
        label_map: The class of every pixel, `(height, width)`, int32.
        image: The image itself, upright, `(height, width, channels)`: uint8, RGB; or of the
            channels and the type that the model takes.
        classes: Names and colours of the classes.
    """

    label_map: np.ndarray
    image: np.ndarray
    classes: Classes

    @functools.cached_property
    def overlay(self) -> Image.Image:
        """The image with the colours of the classes over it, and a legend of them by area."""
        return self.overlay_of()

    def overlay_of(self, channels: Sequence[int] | None = None) -> Image.Image:
        """Draws the colours of the classes over channels of the image, and a legend.

        Args:
            channels: The channels that are shown, see `pdanet_tf.inference.display.to_rgb`; by
                default the first three, as in `overlay`.

        Raises:
            ValueError: If there is no such channel, or not one or three are given.
        """
        return draw_overlay(to_rgb(self.image, channels), self.label_map, self.classes)

    @property
    def label_image(self) -> Image.Image:
        """The label map as an image of one channel: 8 bits, or 16 for more than 256 classes."""
        return Image.fromarray(
            self.label_map.astype("uint8" if len(self.classes) <= 256 else "uint16")
        )

    @property
    def palette_image(self) -> Image.Image:
        """The label map as a palette image: the indices are the classes, the palette their colours.

        Raises:
            ValueError: If there are more than 256 classes; a palette has 256 colours.
        """
        if len(self.classes) > 256:
            raise ValueError(
                f"A palette has 256 colours. Received: {len(self.classes)} classes; use label_image"
            )
        image = Image.fromarray(self.label_map.astype("uint8"))
        image.putpalette([value for color in self.classes.colors for value in color])
        return image

    def areas(self) -> dict[str, float]:
        """Returns the share (0 to 1) of the image of each class in it, the largest first."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(self.classes))
        return list_areas(counts, self.classes)


def list_areas(counts: np.ndarray, classes: Classes) -> dict[str, float]:
    """Returns the share (0 to 1) of each class that occurs, the largest first.

    Args:
        counts: Number of pixels of each class.
        classes: Names of the classes.
    """
    order, pixels = np.argsort(-counts, kind="stable"), counts.sum()
    return {classes.names[index]: float(counts[index] / pixels) for index in order if counts[index]}
