"""Reads images of any number of channels, with 8 or 16 bits or in float32, in their own values.

RGB images of 8 bits are read by `pdanet_tf.data.readers`, which converts every other kind to RGB.
Nothing is converted here: a file that differs from what its data set says is refused.
"""

import numpy as np

from pdanet_tf.base.pixel_format import PIXEL_DTYPES, PixelFormat
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.stored_images import StoredImage, open_stored

_CHECK_FILE = (
    "Replace or remove the file; or, for a data set, set channels to what all its images have"
)


def read_channels(
    path: PathLike, expected: PixelFormat, example: PathLike | None = None, upright: bool = False
) -> np.ndarray:
    """Reads an image in the values of its file: PNG, TIFF or .npy; of 8 bits also other formats.

    In a .npy file the axes are (height, width, channels), or (height, width) for one channel. The
    channels of a TIFF may be interleaved, in planes or in pages. Transparency is a channel like
    any other. The limit of pixels is that of `pdanet_tf.data.read_image`.

    Args:
        path: The file.
        expected: The format that the image must have.
        example: A file that has this format, for the message.
        upright: Whether to rotate the image as its EXIF orientation says; not for TIFF and .npy.

    Returns:
        `(height, width, channels)`, uint8, uint16 or float32.

    Raises:
        DataError: If the file is missing or damaged, has other channels or another type, or holds
            values that are not finite; the message names the file.
        ImportError: If reading it requires the extra `channels`: TIFF, and PNG in colour with 16
            bits.
    """
    with open_stored(path, expected.channels, upright) as stored:
        check_format(path, stored, expected, example)
        pixels = stored.load()
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError(
            Problem(
                str(path),
                "values not finite",
                "the image holds NaN or infinity",
                "Replace these values, for example by 0",
            )
        )
    return pixels


def check_format(
    path: PathLike, stored: StoredImage, expected: PixelFormat, example: PathLike | None = None
) -> None:
    """Checks that an image has the channels and the type that its data set or model has.

    Raises:
        DataError: If it has others; the message says what was expected and what the file has.
    """
    if stored.channels != expected.channels:
        text = (
            f"the image has {quantity(stored.channels, 'channel')}; expected {expected.channels:,}"
        )
        raise DataError(Problem(str(path), "other channels", text, _CHECK_FILE))
    allowed = PIXEL_DTYPES if expected.dtype is None else (expected.dtype,)
    if stored.dtype in allowed:
        return
    text = f"the values of the image have the type {stored.dtype}; expected {' or '.join(allowed)}"
    if example is not None:
        text += f", as in {example}"
    advice = "Save all images with the same type: uint8, uint16 or float32"
    raise DataError(Problem(str(path), "other type of values", text, advice))
