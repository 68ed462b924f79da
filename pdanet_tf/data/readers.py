"""The one reader of images and of annotations."""

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pdanet_tf.data.problems import DataError, Problem

PathLike = str | os.PathLike[str]
# Modes of Pillow that hold one number per pixel; a palette ("P") is read as its indices.
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
# Formats that store the numbers of an annotation exactly, and whose numbers Pillow gives back.
_LABEL_FORMATS = ("PNG", "BMP", "DIB", "TIFF", "GIF")
_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # compressions of TIFF
_ORIENTATION = 0x0112  # the EXIF tag
_FIRST_ON_ITS_SIDE = 5  # orientations from here exchange height and width
_UPRIGHT = {  # what undoes each orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _SIGNED = 0, 2
_DARK_BITS = 14  # so many of 16 bits, or fewer, make an image a quarter as bright at most
_JPEG_BLOCK, _MIDDLE_GRAY = 8, 128
# Errors whose message can stand without their name.
_PLAIN_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_REPLACE = "Replace or remove the file"
PIXELS_VARIABLE = "PDANET_TF_MAX_PIXELS"


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

    Channels of 16 bits (and grey of 12 in a TIFF) are scaled from their whole range to 8: an
    image that uses 11 or 12 of its 16 bits is read nearly black, which `inspect_image` tells.

    An image of more than 2 x `PIL.Image.MAX_IMAGE_PIXELS` pixels (by default 178,956,970) is
    refused, because a small file may fill the memory. Set `PIL.Image.MAX_IMAGE_PIXELS`, or the
    environment variable `PDANET_TF_MAX_PIXELS` for the command line, to read larger ones. Between
    that number and the half of it, Pillow warns.

    Args:
        path: The file.
        honour_orientation: Whether to turn the image as its EXIF tag says; a tag that cannot be
            read counts as upright. Photographs to be looked at want it; images with an annotation
            are left as their pixels are stored, as the annotation is (Pillow turns TIFFs in any
            case).

    Returns:
        `(height, width, 3)`, uint8, RGB.

    Raises:
        DataError: If the file is missing, truncated, no image or too large. It names the file.
    """
    return np.asarray(read_picture(path, honour_orientation))


def read_picture(path: FileLike, honour_orientation: bool = False) -> Image.Image:
    """Reads an image as `read_image` does; returns it as an RGB image of Pillow's."""
    with _open(path) as image:
        return convert_picture(image, path, honour_orientation)


def convert_picture(
    image: Image.Image, name: FileLike = "image", honour_orientation: bool = False
) -> Image.Image:
    """Converts one of Pillow's images to RGB of 8 bits as `read_image` does.

    Args:
        image: The image; it is decoded in place if it is not yet.
        name: What errors call it.
        honour_orientation: See `read_image`.

    Raises:
        DataError: If the image is truncated or damaged, or its pixels have no known range.
    """
    with _decoding(name, "image"):
        rgb = _to_rgb(name, image)
        orientation = _orientation(image) if honour_orientation else 1
        return rgb if orientation == 1 else rgb.transpose(_UPRIGHT[orientation])


def inspect_image(path: FileLike) -> tuple[np.ndarray, list[Problem]]:
    """Reads an image as `read_image` does, and tells what is unusual about it.

    Returns:
        The image, and what is no reason not to use it, but worth a look.

    Raises:
        DataError: If the file is missing, truncated, no image or too large. It names the file.
    """
    with _open(path) as image, _decoding(path, "image"):
        raw_mode = _raw_mode(image)
        pixels = np.asarray(_to_rgb(path, image))
        return pixels, list(_remarks(str(path), image, pixels, raw_mode))


def _remarks(file: str, image: Image.Image, pixels: np.ndarray, raw_mode: str) -> Iterator[Problem]:
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
    if ";16" in raw_mode and not _is_white_zero(image):
        yield from _remarks_on_16_bits(file, image, pixels)
    orientation = _orientation(image)
    # Had the annotation been made from an image on its side, its size would tell.
    if orientation > 1 and (orientation < _FIRST_ON_ITS_SIDE or image.height == image.width):
        yield Problem(
            file,
            "turned image",
            f"the image is stored turned or mirrored (EXIF orientation {orientation})",
            "It is read as stored: make sure that the annotation lies the same way",
            "warning",
        )


def _remarks_on_16_bits(file: str, image: Image.Image, pixels: np.ndarray) -> Iterator[Problem]:
    if image.mode.startswith("I;16"):
        highest = int(np.asarray(image).max())
    else:
        highest = 256 * int(pixels.max()) + 255  # Pillow keeps the upper 8 of each channel's bits
    bits = highest.bit_length()
    if 0 < bits <= _DARK_BITS:
        yield Problem(
            file,
            "nearly black",
            f"the image is nearly black, because its 16 bits are not used up: no value is above "
            f"{highest:,} of 65,535, as with {bits} bits",
            "Scale its values to the range from 0 to 65,535, or save it with 8 bits per channel",
            "warning",
        )


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, from 1 (upright) to 8; 1 if there is none that can be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # Pillow raises what it likes, and sound pixels are worth more than a tag
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _raw_mode(image: Image.Image) -> str:
    """Returns Pillow's name for how pixels are stored, as long as they are not decoded.

    Such as "L;2" for grey of 2 bits, "L;I" for grey where 0 is white, "RGB;16B".
    """
    tiles = getattr(image, "tile", None)
    if not tiles:
        return image.mode
    arguments = tiles[0][3]
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else image.mode
    return arguments if isinstance(arguments, str) else image.mode


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """Returns the value of a tag of a TIFF, of the first channel where each has one."""
    value = image.tag_v2.get(tag) if isinstance(image, TiffImageFile) else None
    return value[0] if isinstance(value, tuple) and value else value


def _is_white_zero(image: Image.Image) -> bool:
    return _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _load(path: FileLike, image: Image.Image) -> None:
    """Decodes an image in place."""
    size = image.size
    image.load()
    if image.size != size:
        # Pillow 13 cuts the rows of these at the wrong length.
        raise DataError(
            Problem(
                str(path),
                "turned TIFF",
                "a TIFF that is stored turned (orientation tag), without compression, cannot be "
                "read",
                "Save it upright",
            )
        )


def _to_rgb(path: FileLike, image: Image.Image) -> Image.Image:
    """Decodes an image to RGB of 8 bits."""
    raw_mode, inverted = _raw_mode(image), _is_white_zero(image)
    _load(path, image)
    if image.mode.startswith("I;16"):
        # Pillow would cut what is above 255, and take 0 for black.
        highest = 4095 if raw_mode == "I;12" else 65535
        numbers = np.asarray(image).astype("uint32")
        numbers = (highest - numbers if inverted else numbers) * 255 // highest
        image = Image.fromarray(numbers.astype("uint8"))
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


def read_label(path: FileLike) -> np.ndarray:
    """Reads an annotation: an image with one number per pixel.

    Args:
        path: The file, PNG, BMP, TIFF or GIF, 1 to 16 bits per pixel (a TIFF also 32); of a
            palette image the indices are taken.

    Returns:
        `(height, width)`, int32, the numbers as they stand in the file: from 0 to 3 where it has 2
        bits per pixel, and not inverted where 0 is white.

    Raises:
        DataError: If the file is missing, truncated, no image, too large, colour-coded, or of a
            format that does not keep numbers exactly. It names the file.
    """
    with _open(path) as image, _decoding(path, "annotation"):
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
        if image.format not in _LABEL_FORMATS or image.info.get("compression") in _LOSSY:
            raise DataError(
                Problem(
                    str(path),
                    "annotation format",
                    f"the annotation is a {image.format} file that may not hold the numbers of the "
                    "classes exactly",
                    "Make the annotation again as a PNG: JPEG and the like change its numbers",
                )
            )
        return _stored_numbers(path, image)


def _stored_numbers(path: FileLike, image: Image.Image) -> np.ndarray:
    """Decodes one number per pixel, without the scaling that makes grey of it."""
    raw_mode = _raw_mode(image)
    signed = _tiff_tag(image, _SAMPLE_FORMAT) == _SIGNED
    _load(path, image)
    numbers = np.asarray(image)
    if image.mode == "L" and signed:
        numbers = numbers.view("int8")
    numbers = numbers.astype("int32")
    # Such as "1;I", "L;2", "L;4IR": I where 0 is white, R where the lowest bit comes first.
    stored = re.fullmatch(r"[1L];([24]?)(I?)R?", raw_mode)
    if stored:
        white = 1 if image.mode == "1" else 255
        if stored[2]:
            numbers = white - numbers
        if stored[1]:
            numbers //= white // (2 ** int(stored[1]) - 1)
    return numbers


def image_size(path: FileLike) -> tuple[int, int]:
    """Returns (height, width) as read, from the file's header alone.

    Raises:
        DataError: If the file is missing, no image or too large. It names the file.
    """
    with _open(path) as image:
        return image.height, image.width


def image_mode(path: FileLike) -> str:
    """Returns Pillow's name for the kind of pixels, from the header.

    Such as "L" or "P"; and "L;2" or "L;4" for grey of 2 or 4 bits, which other readers scale.

    Raises:
        DataError: If the file is missing, no image or too large. It names the file.
    """
    with _open(path) as image:
        raw_mode = _raw_mode(image)
        return raw_mode if raw_mode.startswith("L;") else image.mode


def is_turned(path: FileLike) -> bool:
    """Tells whether an image's EXIF orientation exchanges its height and width.

    A tag that cannot be read counts as upright.

    Raises:
        DataError: If the file is missing, no image or too large. It names the file.
    """
    with _open(path) as image:
        return _orientation(image) >= _FIRST_ON_ITS_SIDE


def set_pixel_limit() -> None:
    """Has Pillow read images of as many pixels as the environment's `PDANET_TF_MAX_PIXELS` says.

    For the command line; in Python, set `PIL.Image.MAX_IMAGE_PIXELS`. Does nothing where the
    variable is not set.

    Raises:
        ValueError: If it is no positive whole number.
    """
    value = os.environ.get(PIXELS_VARIABLE)
    if not value:
        return
    if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) == 0:
        raise ValueError(
            f"The environment variable {PIXELS_VARIABLE} must be the number of pixels that an "
            f"image may have, such as 200000000. Received: {value!r}"
        )
    Image.MAX_IMAGE_PIXELS = int(value)


def _open(path: FileLike) -> Image.Image:
    if isinstance(path, EncodedFile):
        source: str | io.BytesIO = io.BytesIO(path.content)
        empty = not path.content
    else:
        source = os.fspath(path)
        empty = not _file_length(source)
    if empty:
        raise DataError(Problem(str(path), "no image", "the file is empty", _REPLACE))
    try:
        image = Image.open(source)
    except Exception as error:  # Pillow raises what it likes
        raise DataError(_no_image(path, error)) from error
    if not (image.width and image.height):
        image.close()
        raise DataError(Problem(str(path), "no image", "the image has no pixels", _REPLACE))
    return image


def _file_length(path: str) -> int:
    """Returns the number of bytes of a file, which must be one."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            Problem(path, "missing file", "there is no such file", "Put it in its place")
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(_no_image(path, error)) from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise DataError(
            Problem(path, "missing file", f"this is {what}, not a file", "Put a file in its place")
        )
    return status.st_size


def _no_image(path: FileLike, error: Exception) -> Problem:
    """Says why a file cannot be opened."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _too_large(path, error)
    text = "not an image that can be read"
    if isinstance(error, PermissionError):
        return Problem(str(path), "no permission", "may not be read", "Change its permissions")
    # That error says no more than its name, which is here already.
    if not isinstance(error, UnidentifiedImageError):
        text += f": {_describe(error)}"
    return Problem(str(path), "no image", text, _REPLACE)


def _too_large(path: FileLike, error: Exception) -> Problem:
    # Pillow's message has the size and the limit.
    return Problem(
        str(path),
        "too many pixels",
        "the image has more pixels than are read, because a small file may fill the memory: "
        f"{_describe(error)}",
        "Shrink the image or cut it into pieces; or, if you trust the file, allow "
        "its number of pixels: PIL.Image.MAX_IMAGE_PIXELS = 200_000_000 in Python, "
        f"{PIXELS_VARIABLE}=200000000 in the environment of the command line",
    )


@contextmanager
def _decoding(path: FileLike, what: str) -> Iterator[None]:
    """Turns whatever goes wrong while pixels are decoded into an error that names the file."""
    try:
        yield
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(path, error)) from error
    except Exception as error:  # Pillow raises what it likes
        text = f"the {what} cannot be read: {_describe(error)}"
        raise DataError(Problem(str(path), f"unreadable {what}", text, _REPLACE)) from error


def _describe(error: Exception) -> str:
    """Returns an error's message in one line, or its name where that says more."""
    plain = isinstance(error, _PLAIN_ERRORS) and str(error)
    return " ".join((str(error) if plain else repr(error)).split()).removesuffix(".")


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image `(height, width, 3)` bilinearly to `size`, (height, width)."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
