"""The one reader of images and of annotations."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PathLike = str | os.PathLike[str]
# Modes of Pillow that hold one number per pixel; a palette ("P") is read as its indices.
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


class DataError(ValueError):
    """Something is wrong with a user's files; the message names them."""


def read_image(path: PathLike, honour_orientation: bool = False) -> np.ndarray:
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
    with _open(path) as image:
        try:
            if honour_orientation:
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):
                # Pillow would cut what is above 255.
                image = Image.fromarray((np.asarray(image) // 257).astype("uint8"))
            if image.mode in ("I", "F"):
                raise DataError(
                    f"{path}: pixels of mode {image.mode} have no known range; save the image "
                    "with 8 or 16 bits per channel"
                )
            return np.asarray(image.convert("RGB"))
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: the image cannot be read: {error}") from error


def read_label(path: PathLike) -> np.ndarray:
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
                f"{path}: the annotation {kind} ({bands} channels, mode {image.mode}); expected "
                "one channel that holds the number of the class"
            )
        try:
            return np.asarray(image).astype("int32")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: the annotation cannot be read: {error}") from error


def image_size(path: PathLike) -> tuple[int, int]:
    """Returns (height, width) as stored, reading only the file's header.

    Raises:
        DataError: If the file is missing or no image.
    """
    with _open(path) as image:
        return image.height, image.width


def is_turned(path: PathLike) -> bool:
    """Tells whether an image's EXIF orientation exchanges its height and width."""
    with _open(path) as image:
        return image.getexif().get(0x0112, 1) >= 5


def _open(path: PathLike) -> Image.Image:
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not an image that can be read: {error}") from error


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image `(height, width, 3)` bilinearly to `size`, (height, width)."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
