"""Reads windows of TIFF and BigTIFF files that do not fit into memory."""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pdanet_tf.base.extras import import_extra
from pdanet_tf.base.pixel_format import PIXEL_DTYPES, PixelFormat
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import PathLike, decoding, file_length
from pdanet_tf.files import one_line

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# Kinds of TIFF that name other files, which tifffile would open.
_ONE_FILE = {"is_ome": False, "is_mmstack": False, "is_ndtiff": False}
_CACHE = 2**26  # bytes of decoded tiles that are kept
_LARGEST_PART = 2**28  # bytes of a decoded tile or strip
_WHITE_IS_ZERO, _PALETTE, _YCBCR = 0, 3, 6  # photometric interpretations
_COLOUR = (_WHITE_IS_ZERO, 1, 2, _YCBCR)  # those that become RGB; 1 is grey, 2 is RGB
_TOGETHER = 1  # the planar configuration of interleaved channels
_UPRIGHT = 1  # the orientation
_ORIENTATION = 274  # its tag


def is_tiff(path: PathLike) -> bool:
    """Returns whether a file begins like a TIFF, whatever its name is."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in TIFF_SIGNATURES
    except (OSError, ValueError):
        return False


def conversion_command(path: PathLike) -> str:
    """Returns the command that converts an image to a tiled TIFF, row by row."""
    target = os.path.splitext(os.fspath(path))[0] + "_tiled.tif"
    options = "--tile --tile-width 512 --tile-height 512 --compression deflate --bigtiff"
    return f"vips tiffsave '{os.fspath(path)}' '{target}' {options}"


@contextmanager
def open_tiled(path: PathLike, pixel_format: PixelFormat) -> Iterator["TiledImage"]:
    """Opens a TIFF whose pixels are read in windows.

    The file is divided into tiles or strips, compressed or not; only its first page is read.

    Args:
        path: The file.
        pixel_format: The format of the images that the model takes. For RGB with 8 bits, grey
            becomes RGB, and a fourth channel (transparency) is left out. Nothing else is converted.

    Raises:
        DataError: If the file is not a TIFF of this format, is damaged, or is not divided into
            parts that fit into memory. The message names the file.
        ImportError: If tifffile is not installed (extra `tiff`).
    """
    path = os.fspath(path)
    tifffile = import_extra("tifffile", "tiff", f"{path}: reading a TIFF in tiles")
    if not file_length(path) or not is_tiff(path):
        raise _problem(
            path,
            "this is not a TIFF, and only a TIFF is read in tiles",
            f"Convert it: {conversion_command(path)}",
        )
    with decoding(path, "image"):
        file = tifffile.TiffFile(path, **_ONE_FILE)
    with file:
        with decoding(path, "image"):
            page = file.pages[0]
            _check(path, page, pixel_format)
        yield TiledImage(path, file, page, pixel_format)


def _check(path: str, page: Any, expected: PixelFormat) -> None:
    """Checks what kind of image a page holds.

    Raises:
        DataError: See `open_tiled`.
    """
    if not (page.imagelength and page.imagewidth) or page.imagedepth > 1:
        raise _problem(path, f"the first page has the shape {page.shape}", "Save one image in it")
    orientation = page.tags.valueof(_ORIENTATION, _UPRIGHT)
    if orientation != _UPRIGHT:
        raise _problem(
            path,
            f"the image is stored rotated or mirrored (orientation {orientation})",
            "Save it upright",
        )
    allowed = _COLOUR if expected.is_rgb else range(_PALETTE)
    is_plain_ycbcr = page.photometric == _YCBCR and not page.jpegtables and page.compression == 1
    if page.photometric not in allowed or is_plain_ycbcr:
        kind = getattr(page.photometric, "name", page.photometric)
        raise _problem(
            path,
            f"its colours are stored as {kind}",
            f"Convert it: {conversion_command(path)}",
        )
    channels, dtype = page.samplesperpixel, page.dtype.newbyteorder("=").name
    counts = (1, 2, 3, 4) if expected.is_rgb else (expected.channels,)
    dtypes = PIXEL_DTYPES if expected.dtype is None else (expected.dtype,)
    if channels not in counts or dtype not in dtypes:
        raise _problem(
            path,
            f"the image has {quantity(channels, 'channel')} of type {dtype}; expected {expected}",
            "Convert it to what the model takes",
        )
    size = math.prod(_part_shape(page)) * page.dtype.itemsize
    if size > _LARGEST_PART and not page.is_memmappable:
        raise _problem(
            path,
            f"the image is stored in compressed parts of {size:,} bytes, more than "
            f"{_LARGEST_PART:,}",
            f"Convert it to a tiled TIFF: {conversion_command(path)}",
        )


def _part_shape(page: Any) -> tuple[int, int, int]:
    """Returns the (height, width, channels) of a tile or strip."""
    depth = page.samplesperpixel if page.planarconfig == _TOGETHER else 1
    if page.is_tiled:
        return page.tilelength, page.tilewidth, depth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth, depth


def _problem(path: str, text: str, advice: str) -> DataError:
    return DataError(Problem(path, "not a tiled image", text, advice))


class TiledImage:
    """An image in an open TIFF, of which windows are read.

    Attributes:
        shape: (height, width, channels), as windows have them.
        dtype: Type of the values.
    """

    def __init__(self, path: str, file: Any, page: Any, pixel_format: PixelFormat) -> None:
        self._path = path
        self._handle = file.filehandle
        self._page = page
        self._is_rgb = pixel_format.is_rgb
        self._part = _part_shape(page)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        channels = 3 if self._is_rgb else page.samplesperpixel
        self.shape = (page.imagelength, page.imagewidth, channels)
        self.dtype = page.dtype.newbyteorder("=")

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """Returns a window `(rows, columns, channels)` of the image.

        Raises:
            DataError: If a tile cannot be read, or holds values that are not finite; the message
                names the file and the tile.
        """
        rows, columns = (
            range(*side.indices(length)) for side, length in zip(window, self.shape, strict=False)
        )
        if self._page.is_memmappable and self._page.planarconfig == _TOGETHER:
            pixels = self._read_plain(rows, columns)
        else:
            pixels = self._join_parts(rows, columns)
        if not self._is_rgb:
            return pixels
        if self._page.photometric == _WHITE_IS_ZERO:
            pixels = 255 - pixels
        # Pillow converts grey and transparency in the same way.
        return np.repeat(pixels[..., :1], 3, axis=-1) if pixels.shape[-1] < 3 else pixels[..., :3]

    def _read_plain(self, rows: range, columns: range) -> np.ndarray:
        """Reads a window of an image that is stored in one piece, without compression."""
        height, width = self.shape[:2]
        channels, dtype = self._page.samplesperpixel, self._page.dtype
        dtype = dtype.newbyteorder(self._page.parent.byteorder)
        pixels = np.empty((len(rows), len(columns), channels), self.dtype)
        step = channels * dtype.itemsize
        for index, row in enumerate(rows):
            self._handle.seek(self._page.dataoffsets[0] + (row * width + columns.start) * step)
            content = self._handle.read(len(columns) * step)
            if len(content) < len(columns) * step:
                raise self._error(f"row {row} of {height}", rows, columns, "the file ends before")
            pixels[index] = np.frombuffer(content, dtype).reshape(len(columns), channels)
        self._check_finite(pixels, f"row {rows.start} and below", rows, columns)
        return pixels

    def _join_parts(self, rows: range, columns: range) -> np.ndarray:
        """Joins a window from tiles or strips."""
        height, width, depth = self._part
        down, across = (-(-n // m) for n, m in zip(self.shape[:2], self._part[:2], strict=True))
        pixels = np.empty((len(rows), len(columns), self._page.samplesperpixel), self.dtype)
        for plane in range(pixels.shape[-1] // depth):
            for row in range(rows.start // height, -(-rows.stop // height)):
                for column in range(columns.start // width, -(-columns.stop // width)):
                    part = self._load((plane * down + row) * across + column, row, column)
                    top, left = row * height, column * width
                    here = (
                        slice(max(rows.start, top), min(rows.stop, top + height)),
                        slice(max(columns.start, left), min(columns.stop, left + width)),
                    )
                    target = _shifted(here, rows.start, columns.start)
                    pixels[(*target, slice(plane, plane + depth))] = part[_shifted(here, top, left)]
        return pixels

    def _load(self, number: int, row: int, column: int) -> np.ndarray:
        """Decodes a tile or strip, or takes it from the cache."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        height, width, depth = self._part
        rows = range(row * height, min((row + 1) * height, self.shape[0]))
        columns = range(column * width, min((column + 1) * width, self.shape[1]))
        kind = "tile" if self._page.is_tiled else "strip"
        what = f"{kind} {number} (row {row}, column {column} of the {kind}s)"
        part = np.zeros((len(rows), len(columns), depth), self.dtype)
        try:
            decoded = self._decode(number)
            if decoded is not None:  # a tile of zero bytes holds no data
                part[:] = decoded[0, : len(rows), : len(columns)]
        except Exception as error:  # the decoders raise errors of many kinds
            raise self._error(what, rows, columns, one_line(error)) from error
        self._check_finite(part, what, rows, columns)
        self._cache[number] = part
        while len(self._cache) > 1 and len(self._cache) * part.nbytes > _CACHE:
            self._cache.popitem(last=False)
        return part

    def _decode(self, number: int) -> np.ndarray | None:
        count = self._page.databytecounts[number]
        if not count:
            return None
        self._handle.seek(self._page.dataoffsets[number])
        content = self._handle.read(count)
        if len(content) < count:
            raise ValueError(f"the file ends after {len(content):,} of its {count:,} bytes")
        tables = {} if self._page.jpegtables is None else {"jpegtables": self._page.jpegtables}
        return self._page.decode(content, number, **tables)[0]

    def _check_finite(self, pixels: np.ndarray, what: str, rows: range, columns: range) -> None:
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise self._error(what, rows, columns, "it holds NaN or infinity")

    def _error(self, what: str, rows: range, columns: range, reason: str) -> DataError:
        text = (
            f"{what}, pixel rows {rows.start} to {rows.stop - 1} and columns {columns.start} to "
            f"{columns.stop - 1}, cannot be read: {reason}"
        )
        advice = "Restore the file from its source"
        return DataError(Problem(self._path, "unreadable tile", text, advice))


def _shifted(window: tuple[slice, slice], top: int, left: int) -> tuple[slice, slice]:
    rows, columns = window
    return (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
