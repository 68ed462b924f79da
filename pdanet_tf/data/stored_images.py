"""Opens image files of any number of channels: PNG, TIFF, .npy, and what else Pillow reads."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import (
    PathLike,
    decoding,
    file_length,
    open_image,
    raw_mode_of,
    too_large,
    turned_upright,
)

_NPY = (b"\x93NUMPY",)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_LONGEST_SIGNATURE = 6
_PALETTE = 3  # of the photometric interpretation of a TIFF
_MODES = ("L", "LA", "RGB", "RGBA")  # of Pillow, with the values of every channel
# Kinds of TIFF that name other files, which tifffile would open.
_ONE_FILE = {"is_ome": False, "is_mmstack": False, "is_ndtiff": False}
_CHANNEL_AXES = "SC"  # of tifffile: samples and channels
_EXTRA = "install pdanet_tf with the extra 'channels'"


@dataclass(frozen=True)
class StoredImage:
    """An image in an open file, of which only the header was read.

    Attributes:
        size: (height, width).
        channels: Number of channels.
        dtype: NumPy's name of the type of the values.
        load: Decodes the image: `(height, width, channels)`.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    load: Callable[[], np.ndarray]


@contextmanager
def open_stored(path: PathLike, channels: int, upright: bool = False) -> Iterator[StoredImage]:
    """Opens an image and reads its header. Errors inside the block name the file.

    Args:
        path: The file.
        channels: The expected number of channels. It decides which axis of a TIFF holds them, if
            the file does not say so.
        upright: See `read_channels`.

    Raises:
        DataError: See `read_channels`.
        ImportError: See `read_channels`.
    """
    path = os.fspath(path)
    if not file_length(path):
        raise DataError(
            Problem(path, "not an image", "the file is empty", "Replace or remove the file")
        )
    with decoding(path, "image"), open(path, "rb") as file:
        signature = file.read(_LONGEST_SIGNATURE)
    if signature.startswith(_NPY):
        with decoding(path, "image"):
            stored = _npy(path, channels)
            _check_pixels(path, stored)
            yield stored
    elif signature.startswith(_TIFF):
        tifffile = _import("tifffile", path)
        with decoding(path, "image"), tifffile.TiffFile(path, **_ONE_FILE) as tiff:
            stored = _tiff(path, tiff, channels)
            _check_pixels(path, stored)
            yield stored
    else:
        with open_image(path) as image:
            stored = pillow_image(image, path, upright)
            with decoding(path, "image"):
                yield stored


def _import(module: str, path: str) -> Any:
    try:
        if module == "tifffile":
            import tifffile

            return tifffile
        import imagecodecs

        return imagecodecs
    except ImportError as error:
        raise ImportError(f"{path}: reading this file requires {module}: {_EXTRA}.") from error


def _check_pixels(path: str, stored: StoredImage) -> None:
    height, width = stored.size
    limit = Image.MAX_IMAGE_PIXELS
    if not height or not width:
        raise DataError(
            Problem(path, "not an image", "the image has no pixels", "Replace or remove the file")
        )
    if limit is not None and height * width > 2 * limit:
        error = Image.DecompressionBombError(
            f"it has {height * width} pixels, the limit is {2 * limit}"
        )
        raise DataError(too_large(path, error))


def _npy(path: str, channels: int) -> StoredImage:
    # It reads no pickles, and no pixels before `load`.
    array = np.lib.format.open_memmap(path, mode="r")
    if array.ndim not in (2, 3):
        raise DataError(
            Problem(
                path,
                "other axes",
                f"the array has the shape {array.shape}",
                "Save it as (height, width, channels)",
            )
        )
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.shape[-1] != channels and shaped.shape[0] == channels:
        raise DataError(
            Problem(
                path,
                "other axes",
                f"the array has the shape {array.shape}, with the channels first",
                "Save it as (height, width, channels)",
            )
        )
    return _stored(shaped, lambda: shaped)


def _tiff(path: str, tiff: Any, channels: int) -> StoredImage:
    series, page = tiff.series[0], tiff.pages[0]
    if page.photometric == _PALETTE:
        raise _palette_error(path)
    # Axes of length 1, such as time and depth, are left out.
    kept = [
        (axis, length)
        for axis, length in zip(series.axes, series.shape, strict=True)
        if length > 1 or axis in "YX"
    ]
    axes, shape = [axis for axis, _ in kept], tuple(length for _, length in kept)
    others = [axis for axis in axes if axis not in "YX"]
    if len(others) > 1 or len(axes) != len(others) + 2:
        raise DataError(
            Problem(
                path,
                "other axes",
                f"the TIFF has the axes {series.axes} with the shape {series.shape}",
                "Save it with height, width and channels only",
            )
        )
    place = axes.index(others[0]) if others else None
    # If there are more than four channels, `tifffile.imwrite(path, image)` takes the first axis
    # for pages.
    if place is not None and others[0] not in _CHANNEL_AXES and shape[place] != channels:
        place = -1 if shape[-1] == channels else place
    header = np.broadcast_to(np.empty((), series.dtype), series.shape)

    def shaped(array: np.ndarray) -> np.ndarray:
        array = array.reshape(shape)
        return array[..., None] if place is None else np.moveaxis(array, place, -1)

    return _stored(shaped(header), lambda: shaped(series.asarray()))


def _stored(header: np.ndarray, load: Callable[[], np.ndarray]) -> StoredImage:
    height, width, channels = header.shape
    # Files have either byte order; arrays in memory have the machine's.
    dtype = header.dtype.newbyteorder("=")
    return StoredImage(
        (height, width), channels, dtype.name, lambda: np.ascontiguousarray(load(), dtype)
    )


def pillow_image(image: Image.Image, name: PathLike, upright: bool = False) -> StoredImage:
    """Returns a Pillow image as a stored one.

    Args:
        image: The image, decoded or not.
        name: The name that errors use.
        upright: Whether to rotate it as its EXIF orientation says.

    Raises:
        DataError: If its mode does not hold the values of every channel, as that of a palette.
    """
    if image.mode == "P":
        raise _palette_error(name)
    raw_mode = raw_mode_of(image)
    is_packed = re.match(r"1|L;[24]", raw_mode)  # Pillow scales them to 8 bits
    if is_packed or not (image.mode in _MODES or image.mode.startswith("I;16")):
        raise DataError(
            Problem(
                str(name),
                "other type of values",
                f"the image is stored in mode {image.mode} ({raw_mode})",
                "Save it with 8 or 16 bits per channel",
            )
        )
    dtype = "uint16" if ";16" in raw_mode else "uint8"
    # Pillow has no modes of 16 bits in colour: "LA;16B" becomes RGBA.
    kind = raw_mode.partition(";")[0] if dtype == "uint16" else image.mode
    channels = len(kind)
    if dtype == "uint16" and channels > 1:
        codecs = _import("imagecodecs", str(name))

        def decode() -> np.ndarray:
            file = image.fp if isinstance(image, ImageFile) else None
            if file is None:
                raise ValueError("its file is closed")
            file.seek(0)
            return codecs.png_decode(file.read())[..., :channels]

        return StoredImage((image.height, image.width), channels, dtype, decode)

    def load() -> np.ndarray:
        image.load()
        return np.atleast_3d(np.asarray(turned_upright(image) if upright else image, dtype))

    return StoredImage((image.height, image.width), channels, dtype, load)


def _palette_error(name: PathLike) -> DataError:
    return DataError(
        Problem(
            str(name),
            "palette",
            "the image has a palette, so its values are indices of colours",
            "Save it with one value per channel",
        )
    )
