"""The one reader of images and of annotations."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pdanet_tf.data.problems import DataError, Problem

PathLike = str | os.PathLike[str]
# Modes of Pillow that hold one number per pixel; a palette ("P") is read as its indices.
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_DECODING_ERRORS = (OSError, SyntaxError, ValueError)  # what Pillow raises at broken files
_ORIENTATION = 0x0112  # the EXIF tag
_FIRST_ON_ITS_SIDE = 5  # orientations from here exchange height and width
_JPEG_BLOCK, _MIDDLE_GRAY = 8, 128
_REPLACE = "Replace the file, or take image and annotation out"


@dataclass(frozen=True)
class EncodedFile:
    """A file's content, where it lies in an archive or among records.

    Attributes:
        name: What errors call it.
        content: Its bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


FileLike = PathLike | EncodedFile


def read_image(path: FileLike, honour_orientation: bool = False) -> np.ndarray:
    """Reads an image of any format that Pillow knows.

    Args:
        path: The file.
        honour_orientation: Whether to turn the image as its EXIF tag says. Photographs to be
            looked at want it; images with an annotation are left as their pixels are stored, as
            the annotation is.

    Returns:
        `(height, width, 3)`, uint8, RGB.

    Raises:
        DataError: If the file is missing, truncated or no image.
    """
    return np.asarray(read_picture(path, honour_orientation))


def read_picture(path: FileLike, honour_orientation: bool = False) -> Image.Image:
    """Reads an image as `read_image` does; returns it as an RGB picture of Pillow's."""
    with _open(path) as image:
        return _decode(path, image, honour_orientation)


def inspect_image(path: FileLike) -> tuple[np.ndarray, list[Problem]]:
    """Reads an image as `read_image` does, and tells what is unusual about it.

    Returns:
        The image, and what is no reason not to use it, but worth a look.

    Raises:
        DataError: If the file is missing, truncated or no image.
    """
    with _open(path) as image:
        pixels = np.asarray(_decode(path, image))
        return pixels, list(_remarks(str(path), image, pixels))


def _remarks(file: str, image: Image.Image, pixels: np.ndarray) -> Iterator[Problem]:
    if image.mode not in ("RGB", "P"):
        yield Problem(
            file,
            "not RGB",
            f"the image is stored in mode {image.mode}",
            "It is read as RGB; if its colours come out wrong, convert it yourself",
            "note",
        )
    if image.has_transparency_data:
        yield Problem(
            file,
            "transparency",
            "the image has transparent pixels, whose colours nobody has seen",
            "Lay it over the background that it is meant for",
            "note",
        )
    # libjpeg fills what is missing before the end marker, and Pillow does not tell of it.
    if image.format == "JPEG" and (pixels[-_JPEG_BLOCK:] == _MIDDLE_GRAY).all():
        yield Problem(
            file,
            "grey end",
            "the last rows are plain grey, as where the data of a JPEG end early",
            "Look at the image, and replace it if its end is missing",
            "warning",
        )
    orientation = _orientation(image)
    # Had the annotation been made from a picture on its side, its size would tell.
    if orientation > 1 and (orientation < _FIRST_ON_ITS_SIDE or image.height == image.width):
        yield Problem(
            file,
            "turned image",
            f"the image is stored turned or mirrored (EXIF orientation {orientation})",
            "It is read as stored: make sure that the annotation lies the same way",
            "warning",
        )


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, from 1 (upright) to 8; 1 if there is none."""
    orientation = image.getexif().get(_ORIENTATION)
    return orientation if isinstance(orientation, int) else 1  # a broken tag may hold anything


def _decode(path: FileLike, image: Image.Image, honour_orientation: bool = False) -> Image.Image:
    try:
        image.load()
        if honour_orientation:
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            # Pillow would cut what is above 255.
            image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
        if image.mode in ("I", "F"):
            raise DataError(
                Problem(
                    str(path),
                    "unknown range",
                    f"pixels of mode {image.mode} have no known range",
                    "Save the image with 8 or 16 bits per channel",
                )
            )
        return image if image.mode == "RGB" else image.convert("RGB")
    except DataError:
        raise
    except _DECODING_ERRORS as error:
        raise DataError(_unreadable(path, "image", error)) from error


def read_label(path: FileLike) -> np.ndarray:
    """Reads an annotation: a picture with one number per pixel.

    Args:
        path: The file, 8 or 16 bits per pixel; of a palette image the indices are taken.

    Returns:
        `(height, width)`, int32, the numbers as they stand in the file.

    Raises:
        DataError: If the file is missing, truncated, no image, or colour-coded.
    """
    with _open(path) as image:
        if image.mode not in _INDEX_MODES:
            bands = len(image.getbands())
            kind = "is colour-coded" if bands >= 3 else "does not hold whole numbers alone"
            raise DataError(
                Problem(
                    str(path),
                    "colour-coded annotation",
                    f"the annotation {kind} ({bands} channels, mode {image.mode})",
                    "Save it with one channel that holds the number of the class",
                )
            )
        try:
            return np.asarray(image).astype("int32")
        except _DECODING_ERRORS as error:
            raise DataError(_unreadable(path, "annotation", error)) from error


def image_size(path: FileLike) -> tuple[int, int]:
    """Returns (height, width) as stored, reading only the file's header.

    Raises:
        DataError: If the file is missing or no image.
    """
    with _open(path) as image:
        return image.height, image.width


def image_mode(path: FileLike) -> str:
    """Returns Pillow's name for the kind of pixels, such as "L" or "P", from the header.

    Raises:
        DataError: If the file is missing or no image.
    """
    with _open(path) as image:
        return image.mode


def is_turned(path: FileLike) -> bool:
    """Tells whether an image's EXIF orientation exchanges its height and width."""
    with _open(path) as image:
        return _orientation(image) >= _FIRST_ON_ITS_SIDE


def _open(path: FileLike) -> Image.Image:
    if isinstance(path, EncodedFile):
        source: PathLike | io.BytesIO = io.BytesIO(path.content)
    elif Path(path).is_file():
        source = path
    else:
        raise DataError(
            Problem(str(path), "missing file", "there is no such file", "Put it in its place")
        )
    try:
        return Image.open(source)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(
            Problem(str(path), "no image", f"not an image that can be read: {error}", _REPLACE)
        ) from error


def _unreadable(path: FileLike, what: str, error: Exception) -> Problem:
    return Problem(str(path), f"unreadable {what}", f"the {what} cannot be read: {error}", _REPLACE)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image `(height, width, 3)` bilinearly to `size`, (height, width)."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
