"""Reads and inspects image files and annotation files; every error names the file."""

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

from pdanet_tf.data.bands import as_image
from pdanet_tf.data.problems import DataError, Problem

PathLike = str | os.PathLike[str]
# Pillow's modes with one value per pixel; of a palette image ("P") the indices are read.
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
# The formats that are read. Pillow knows many more: for EPS it starts Ghostscript, a program that
# executes the file, and it recognises a format by the content, whatever the file is called.
# A JPEG of several images ("MPO") counts as JPEG.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP")
# Formats that store the values of an annotation exactly, and whose values Pillow returns.
_LABEL_FORMATS = ("PNG", "BMP", "DIB", "TIFF", "GIF")
_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # lossy compressions of TIFF
_ORIENTATION = 0x0112  # the EXIF tag
_FIRST_SIDEWAYS = 5  # orientations from 5 exchange height and width
_UPRIGHT = {  # the operation that undoes each orientation
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
_DARK_BITS = 14  # an image that uses at most 14 of 16 bits is at most a quarter as bright
_JPEG_BLOCK, _MIDDLE_GRAY = 8, 128
# Errors whose message is clear without the name of the error.
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
    """The content of a file that is stored in an archive or a record.

    Attributes:
        name: The name that errors use.
        content: The bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


FileLike = PathLike | EncodedFile


def read_image(path: FileLike, honour_orientation: bool = False) -> np.ndarray:
    """Reads an image: BMP, GIF (its first frame), JPEG, PNG, TIFF or WebP, whatever its name is.

    Channels of 16 bits (and grey of 12 bits in a TIFF) are scaled from their whole range to 8
    bits. An image that uses only 11 or 12 of its 16 bits is therefore nearly black;
    `inspect_image` warns of it.

    An image of more than 2 x `PIL.Image.MAX_IMAGE_PIXELS` pixels (by default 178,956,970) is
    refused, because a small file can fill the memory. To read larger images, set
    `PIL.Image.MAX_IMAGE_PIXELS`, or the environment variable `PDANET_TF_MAX_PIXELS` for the
    command line. Between half of that number and the number itself, Pillow warns.

    Args:
        path: The file.
        honour_orientation: Whether to rotate the image as its EXIF orientation says. An
            orientation that cannot be read counts as upright. Set it for images that people look
            at; leave it off for images with an annotation, whose pixels are stored in the same
            orientation (Pillow always rotates TIFFs).

    Returns:
        `(height, width, 3)`, uint8, RGB.

    Raises:
        DataError: If the file is missing, truncated, not an image or too large; the message names
            the file.
    """
    return np.asarray(read_pil_image(path, honour_orientation))


def read_pil_image(path: FileLike, honour_orientation: bool = False) -> Image.Image:
    """Reads an image as `read_image` does, and returns it as a Pillow image of mode RGB."""
    with open_image(path) as image:
        return convert_to_rgb(image, path, honour_orientation)


def convert_to_rgb(
    image: Image.Image, name: FileLike = "image", honour_orientation: bool = False
) -> Image.Image:
    """Converts a Pillow image to RGB with 8 bits per channel, as `read_image` does.

    Args:
        image: The image; it is decoded in place if it is not decoded yet.
        name: The name that errors use.
        honour_orientation: See `read_image`.

    Raises:
        DataError: If the image is truncated or damaged, or the range of its pixels is unknown.
    """
    with decoding(name, "image"):
        rgb = _to_rgb(name, image)
        orientation = _orientation(image) if honour_orientation else 1
        return rgb if orientation == 1 else rgb.transpose(_UPRIGHT[orientation])


def inspect_image(path: FileLike) -> tuple[np.ndarray, list[Problem]]:
    """Reads an image as `read_image` does, and lists what is unusual about it.

    Returns:
        The image; and problems that do not prevent using it (warnings and notes).

    Raises:
        DataError: If the file is missing, truncated, not an image or too large; the message names
            the file.
    """
    with open_image(path) as image, decoding(path, "image"):
        raw_mode = raw_mode_of(image)
        pixels = np.asarray(_to_rgb(path, image))
        return pixels, list(_image_warnings(str(path), image, pixels, raw_mode))


def _image_warnings(
    file: str, image: Image.Image, pixels: np.ndarray, raw_mode: str
) -> Iterator[Problem]:
    if image.mode not in ("RGB", "P"):
        yield Problem(
            file,
            "not RGB",
            f"the image is stored in mode {image.mode}",
            "It is converted to RGB; if its colours look wrong, convert it yourself",
            "note",
        )
    if image.has_transparency_data:
        yield Problem(
            file,
            "transparency",
            "the image has transparent pixels, whose hidden colours are read",
            "Draw it over its intended background and save it without transparency",
            "note",
        )
    # libjpeg fills missing rows with grey if there is an end marker, and Pillow does not report it.
    if image.format == "JPEG" and (pixels[-_JPEG_BLOCK:] == _MIDDLE_GRAY).all():
        yield Problem(
            file,
            "grey end",
            "the last rows are plain grey, which happens if the data of a JPEG end early",
            "Look at the image, and replace it if its bottom is missing",
            "warning",
        )
    if ";16" in raw_mode and not _is_white_zero(image):
        yield from _unused_bits_warning(file, image, pixels)
    orientation = _orientation(image)
    # If height and width are exchanged and differ, an annotation drawn on the rotated image shows
    # as a size mismatch.
    if orientation > 1 and (orientation < _FIRST_SIDEWAYS or image.height == image.width):
        yield Problem(
            file,
            "rotated image",
            f"the image is stored rotated or mirrored (EXIF orientation {orientation})",
            "It is read as stored: make sure that its annotation has the same orientation",
            "warning",
        )


def _unused_bits_warning(file: str, image: Image.Image, pixels: np.ndarray) -> Iterator[Problem]:
    if image.mode.startswith("I;16"):
        highest = int(np.asarray(image).max())
    else:
        highest = 256 * int(pixels.max()) + 255  # Pillow keeps the upper 8 bits of each channel
    bits = highest.bit_length()
    if 0 < bits <= _DARK_BITS:
        yield Problem(
            file,
            "nearly black",
            f"the image is nearly black, because it does not use all of its 16 bits: no value is "
            f"above {highest:,} of 65,535, as with {bits} bits",
            "Scale its values to 0 to 65,535, or save it with 8 bits per channel",
            "warning",
        )


def turned_upright(image: Image.Image) -> Image.Image:
    """Rotates a decoded image as its EXIF orientation says."""
    orientation = _orientation(image)
    return image if orientation == 1 else image.transpose(_UPRIGHT[orientation])


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8; 1 if it is missing or cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # of any kind; a damaged tag must not reject a sound image
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def raw_mode_of(image: Image.Image) -> str:
    """Returns Pillow's name for the storage of the pixels; the image must not be decoded yet.

    Examples: "L;2" is grey with 2 bits, "L;I" is grey with 0 for white, "RGB;16B" has 16 bits per
    channel.
    """
    tiles = getattr(image, "tile", None)
    if not tiles:
        return image.mode
    arguments = tiles[0][3]
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else image.mode
    return arguments if isinstance(arguments, str) else image.mode


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """Returns the value of a TIFF tag, or that of the first channel if it has one per channel."""
    value = image.tag_v2.get(tag) if isinstance(image, TiffImageFile) else None
    return value[0] if isinstance(value, tuple) and value else value


def _is_white_zero(image: Image.Image) -> bool:
    return _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO


def _load(path: FileLike, image: Image.Image) -> None:
    """Decodes an image in place."""
    size = image.size
    image.load()
    if image.size != size:
        # Pillow 13 cuts the rows of such files at the wrong length.
        raise DataError(
            Problem(
                str(path),
                "rotated TIFF",
                "an uncompressed TIFF that is stored rotated (orientation tag) cannot be read",
                "Save it upright",
            )
        )


def _to_rgb(path: FileLike, image: Image.Image) -> Image.Image:
    """Decodes an image to RGB with 8 bits per channel."""
    raw_mode, inverted = raw_mode_of(image), _is_white_zero(image)
    _load(path, image)
    if image.mode.startswith("I;16"):
        # Pillow would clip values above 255, and take 0 as black.
        highest = 4095 if raw_mode == "I;12" else 65535
        values = np.asarray(image).astype("uint32")
        values = (highest - values if inverted else values) * 255 // highest
        image = Image.fromarray(values.astype("uint8"))
    if image.mode in ("I", "F"):
        raise DataError(
            Problem(
                str(path),
                "unknown range",
                f"the range of pixels of mode {image.mode} is unknown",
                "Save the image with 8 or 16 bits per channel",
            )
        )
    return image if image.mode == "RGB" else image.convert("RGB")


def read_label(path: FileLike) -> np.ndarray:
    """Reads an annotation: an image with one value per pixel.

    Args:
        path: The file: PNG, BMP, TIFF or GIF with 1 to 16 bits per pixel (a TIFF also 32). Of a
            palette image the indices are read.

    Returns:
        `(height, width)`, int32, the values as stored in the file: 0 to 3 for 2 bits per pixel,
        and not inverted if the file declares 0 as white.

    Raises:
        DataError: If the file is missing, truncated, not an image, too large, colour-coded, or of
            a format that does not store values exactly; the message names the file.
    """
    with open_image(path) as image, decoding(path, "annotation"):
        if image.mode not in _INDEX_MODES:
            bands = len(image.getbands())
            kind = "is colour-coded" if bands >= 3 else "does not contain one integer per pixel"
            raise DataError(
                Problem(
                    str(path),
                    "colour-coded annotation",
                    f"the annotation {kind} ({bands} channels, mode {image.mode})",
                    "Save it with one channel that contains the value of the class, or import "
                    "colours: pdanet-tf import-labels --format colors",
                )
            )
        if image.format not in _LABEL_FORMATS or image.info.get("compression") in _LOSSY:
            raise DataError(
                Problem(
                    str(path),
                    "annotation format",
                    f"the annotation is a {image.format} file that may not store the values of the "
                    "classes exactly",
                    "Create the annotation again as a PNG: lossy formats such as JPEG change its "
                    "values",
                )
            )
        return _decode_values(path, image)


def _decode_values(path: FileLike, image: Image.Image) -> np.ndarray:
    """Decodes one value per pixel, and undoes Pillow's scaling to 8-bit grey."""
    raw_mode = raw_mode_of(image)
    signed = _tiff_tag(image, _SAMPLE_FORMAT) == _SIGNED
    _load(path, image)
    values = np.asarray(image)
    if image.mode == "L" and signed:
        values = values.view("int8")
    values = values.astype("int32")
    # For example "1;I", "L;2" or "L;4IR": I means that 0 is white, R that the lowest bit is first.
    stored = re.fullmatch(r"[1L];([24]?)(I?)R?", raw_mode)
    if stored:
        white = 1 if image.mode == "1" else 255
        if stored[2]:
            values = white - values
        if stored[1]:
            values //= white // (2 ** int(stored[1]) - 1)
    return values


def image_size(path: FileLike) -> tuple[int, int]:
    """Returns the (height, width) of an image as it is read, from the file's header alone.

    Raises:
        DataError: If the file is missing, not an image or too large; the message names the file.
    """
    with open_image(path) as image:
        return image.height, image.width


def image_mode(path: FileLike) -> str:
    """Returns Pillow's name for the kind of pixels, from the file's header alone.

    Examples: "L", "P"; and "L;2" or "L;4" for grey with 2 or 4 bits, which other readers scale.

    Raises:
        DataError: If the file is missing, not an image or too large; the message names the file.
    """
    with open_image(path) as image:
        raw_mode = raw_mode_of(image)
        return raw_mode if raw_mode.startswith("L;") else image.mode


def is_sideways(path: FileLike) -> bool:
    """Returns True if the EXIF orientation of an image exchanges its height and width.

    An orientation that cannot be read counts as upright.

    Raises:
        DataError: If the file is missing, not an image or too large; the message names the file.
    """
    with open_image(path) as image:
        return _orientation(image) >= _FIRST_SIDEWAYS


def set_pixel_limit() -> None:
    """Sets Pillow's limit of pixels per image to the environment variable `PDANET_TF_MAX_PIXELS`.

    It is meant for the command line; in Python, set `PIL.Image.MAX_IMAGE_PIXELS`. It does nothing
    if the variable is not set.

    Raises:
        ValueError: If the value is not a positive integer.
    """
    value = os.environ.get(PIXELS_VARIABLE)
    if not value:
        return
    if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) == 0:
        raise ValueError(
            f"The environment variable {PIXELS_VARIABLE} must be the largest allowed number of "
            f"pixels of an image, such as 200000000. Received: {value!r}"
        )
    Image.MAX_IMAGE_PIXELS = int(value)


def open_image(path: FileLike) -> Image.Image:
    """Opens an image without decoding it.

    Raises:
        DataError: If the file is missing, not an image or too large; the message names the file.
    """
    if isinstance(path, EncodedFile):
        source: str | io.BytesIO = io.BytesIO(path.content)
        empty = not path.content
    else:
        source = os.fspath(path)
        empty = not file_length(source)
    if empty:
        raise DataError(Problem(str(path), "not an image", "the file is empty", _REPLACE))
    try:
        image = Image.open(source, formats=IMAGE_FORMATS)
    except Exception as error:  # Pillow raises errors of any kind
        raise DataError(_open_problem(path, error)) from error
    if not (image.width and image.height):
        image.close()
        raise DataError(Problem(str(path), "not an image", "the image has no pixels", _REPLACE))
    return image


def file_length(path: str) -> int:
    """Returns the number of bytes of a regular file.

    Raises:
        DataError: If the path is missing or something else, such as a folder.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            Problem(path, "missing file", "there is no such file", "Check the path")
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(_open_problem(path, error)) from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise DataError(
            Problem(path, "missing file", f"this is {what}, not a file", "Replace it by a file")
        )
    return status.st_size


def _open_problem(path: FileLike, error: Exception) -> Problem:
    """Returns the problem that a file cannot be opened as an image."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return too_large(path, error)
    text = "not an image that can be read"
    if isinstance(error, PermissionError):
        text = "there is no permission to read this file"
        return Problem(str(path), "no permission", text, "Change its permissions")
    if isinstance(error, UnidentifiedImageError):  # whose own message adds nothing
        text += "; expected BMP, GIF, JPEG, PNG, TIFF or WebP"
    else:
        text += f": {_describe(error)}"
    return Problem(str(path), "not an image", text, _REPLACE)


def too_large(path: FileLike, error: Exception) -> Problem:
    """Returns the problem that an image has more pixels than Pillow's limit."""
    # Pillow's message contains the size and the limit.
    return Problem(
        str(path),
        "too many pixels",
        "the image has more pixels than the limit, which protects against small files that fill "
        f"the memory: {_describe(error)}",
        "Shrink the image or cut it into pieces; or, if you trust the file, raise the limit: "
        "PIL.Image.MAX_IMAGE_PIXELS = 200_000_000 in Python, "
        f"{PIXELS_VARIABLE}=200000000 in the environment of the command line. `pdanet-tf predict "
        "--tile` reads TIFFs of any size",
    )


@contextmanager
def decoding(path: FileLike, what: str) -> Iterator[None]:
    """Turns every error of decoding into a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(too_large(path, error)) from error
    except Exception as error:  # Pillow raises errors of any kind
        text = f"the {what} cannot be read: {_describe(error)}"
        raise DataError(Problem(str(path), f"unreadable {what}", text, _REPLACE)) from error


def _describe(error: Exception) -> str:
    """Returns an error on one line: its message, or also its name if the message needs it."""
    plain = isinstance(error, _PLAIN_ERRORS) and str(error)
    return " ".join((str(error) if plain else repr(error)).split()).removesuffix(".")


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image `(height, width, channels)` bilinearly to `size`, a (height, width).

    Values of uint8 are rounded to whole numbers; others become float32 and are not rounded.
    """
    if image.shape[:2] == size:
        return image
    return np.asarray(as_image(image).resize(size[::-1], Image.Resampling.BILINEAR))
