"""Label maps as tiled TIFFs, which are written tile by tile."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.extras import import_extra
from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.results import SOURCE_KEY, hash_source, not_replaceable

ENDING = ".tif"  # of the label maps
SIDE = 512  # of the tiles, in pixels
_HASH = 64  # hexadecimal digits


def write_tiles(
    path: Path,
    source: Path,
    tiles: Iterable[np.ndarray],
    size: tuple[int, int],
    dtype: np.dtype,
    palette: Classes | None = None,
) -> None:
    """Writes a label map tile by tile, with a mark of its source.

    Args:
        path: The file.
        source: The image.
        tiles: Tiles `(rows, columns)` of `SIDE` rows and columns, less at the right and at the
            bottom; from the top to the bottom, and from left to right.
        size: (height, width) of the label map.
        dtype: "uint8" or "uint16".
        palette: Classes whose colours become the palette; None for grey.

    Raises:
        ImportError: If tifffile is not installed (extra `tiff`).
        OSError: If the file cannot be written.
    """
    tifffile = _import()
    colors: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        colors = {"photometric": "palette", "colormap": _colormap(palette.colors)}
    tifffile.imwrite(
        path,
        _padded(tiles, dtype),
        shape=size,
        dtype=dtype,
        bigtiff=size[0] * size[1] * dtype.itemsize > 2**31,
        tile=(SIDE, SIDE),
        compression="zlib",
        description=_mark(source, "0" * _HASH),
        metadata=None,
        **colors,
    )
    tifffile.tiffcomment(path, _mark(source, _hash_tiles(path)))


def _import() -> Any:
    return import_extra("tifffile", "tiff", "A label map in tiles")


def _padded(tiles: Iterable[np.ndarray], dtype: np.dtype) -> Iterator[np.ndarray]:
    for tile in tiles:
        padded = np.zeros((SIDE, SIDE), dtype)
        padded[: tile.shape[0], : tile.shape[1]] = tile
        yield padded


def _colormap(colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns the palette of a TIFF: (3, 256) values of 16 bits."""
    palette = np.zeros((3, 256), "uint16")
    palette[:, : len(colors)] = np.array(colors, "uint16").T * 257
    return palette


def _mark(file: Path, tiles: str) -> str:
    return f"{SOURCE_KEY}: {hash_source(file)} {tiles}"


def _hash_tiles(path: Path) -> str:
    """Returns a hash of the encoded tiles of a file."""
    digest = hashlib.sha256()
    with _import().TiffFile(path) as file:
        page = file.pages[0]
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(offset)
            digest.update(file.filehandle.read(count))
    return digest.hexdigest()


def read_mark(path: Path) -> str | None:
    """Returns the mark of a label map that `write_tiles` wrote; None for any other file."""
    try:
        mark = _import().tiffcomment(path)
    except Exception:  # tifffile is not installed, or it raises errors of many kinds
        return None
    return mark if isinstance(mark, str) and mark.startswith(f"{SOURCE_KEY}: ") else None


def check_replaceable(path: Path, image: Path) -> None:
    """Checks that a file is an unchanged label map of an image, or does not exist.

    Raises:
        DataError: If it is anything else.
    """
    if not path.exists():
        return
    mark = read_mark(path)
    if mark is None or mark != _mark(image, _hash_tiles(path)):
        raise not_replaceable(path, image)
