"""The sample images of the page: drawn ones, or those of a folder."""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.sources.synthetic import SYNTHETIC_CLASSES, SyntheticDataset
from pdanet_tf.demo.streets import draw_street

_DRAWN = 4
_SIZE = (360, 480)
_THUMBNAIL = (160, 120)


@dataclass(frozen=True)
class Sample:
    """A sample image.

    Attributes:
        name: Its name on the page.
        file: The name of its file.
        read: Returns the bytes of the file.
    """

    name: str
    file: str
    read: Callable[[], bytes]


def drawn_samples(classes: Classes) -> list[Sample]:
    """Returns samples that are drawn when the page asks for them.

    Args:
        classes: Those of the model: with the classes of the data set `synthetic` the samples are
            its landscapes, otherwise streets.
    """
    if classes.names == SYNTHETIC_CLASSES.names:
        scenes = SyntheticDataset("validation", _SIZE)
        return [_drawn("Landscape", index, lambda i: scenes.read(i)[0]) for index in range(_DRAWN)]
    return [_drawn("Street", index, lambda i: draw_street(i, _SIZE)) for index in range(_DRAWN)]


def _drawn(what: str, index: int, draw: Callable[[int], np.ndarray]) -> Sample:
    @functools.cache
    def read() -> bytes:
        return encode_jpeg(draw(index))

    return Sample(f"{what} {index + 1}", f"{what.lower()}_{index + 1}.jpg", read)


def folder_samples(folder: Path, endings: tuple[str, ...]) -> list[Sample]:
    """Returns the images of a folder and its sub-folders, in the order of their names.

    Args:
        folder: The folder.
        endings: The extensions of images.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(endings)]
    if not files:
        raise FileNotFoundError(
            f"--samples {folder}: expected a folder with images ({', '.join(endings)})"
        )
    return [Sample(file.stem, file.name, file.read_bytes) for file in files]


def thumbnail(pixels: np.ndarray) -> bytes:
    """Returns a small JPEG of an image `(height, width, 3)`, uint8, RGB."""
    image = Image.fromarray(pixels)
    image.thumbnail(_THUMBNAIL)
    return encode_jpeg(np.asarray(image))


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Returns an image `(height, width, 3)`, uint8, RGB, as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92)
    return stream.getvalue()
