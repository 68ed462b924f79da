"""Segments images that do not fit into memory, window by window, into a tiled TIFF."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.extras import import_extra
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import resize_image
from pdanet_tf.data.tiled_tiff import TiledImage, conversion_command, is_tiff, open_tiled
from pdanet_tf.files import whole_file
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.prediction import list_areas
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.tiled_labels import SIDE, write_tiles
from pdanet_tf.inference.windows import Tile, WindowedImage

_BITS = 22  # of the weights with which Pillow resizes images of 8 bits


@dataclass(frozen=True)
class Windows:
    """The windows in which a large image is segmented.

    Attributes:
        tile: Side of a window in pixels, a multiple of 8.
        overlap: Pixels that two neighbours have in common, less than `tile`; None for an eighth.
        flip: Whether to average the probabilities over each window and its left-right mirror image.

    Raises:
        ValueError: If a value is out of range.
    """

    tile: int = 1024
    overlap: int | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.tile % 8 or not 8 <= self.tile <= 8192:
            raise ValueError(
                f"tile must be a multiple of 8, from 8 to 8192 pixels. Received: tile={self.tile}"
            )
        if self.overlap is None:
            object.__setattr__(self, "overlap", self.tile // 8)
        elif not 0 <= self.overlap < self.tile:
            raise ValueError(
                "overlap must be at least 0 pixels and less than tile. "
                f"Received: overlap={self.overlap}, tile={self.tile}"
            )

    @property
    def protocol(self) -> Protocol:
        """The sliding windows of `pdanet_tf.Protocol` that these windows are equal to.

        Of this protocol only the windows are used: images have any size.
        """
        side, step = self.tile, self.tile - (self.overlap or 0)
        return Protocol(flip=self.flip, crop_size=(side, side), stride=(step, step))


def segment_large(
    predictor: Predictor,
    file: Path,
    target: Path,
    windows: Windows,
    palette: bool = False,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda blocks, _: blocks,
) -> tuple[tuple[int, int], dict[str, float]]:
    """Segments an image at its own size, and writes its label map as a tiled TIFF.

    The label map equals that of `Predictor.label_map` with the protocol `crop_size=(tile, tile)`,
    `stride=(tile - overlap, tile - overlap)` and a `max_size` of the image's long edge, but for the
    rounding of float32. A TIFF is read in windows, so the memory does not depend on its size. An
    image of another format is read whole.

    Args:
        predictor: The model. Its protocol is not used.
        file: The image.
        target: The file of the label map, whose extension is .tif: one channel of 8 bits, or 16
            for more than 256 classes; tiles of 512 x 512 pixels. It is written whole or not at all.
        windows: The windows.
        palette: Whether to store the colours of the classes as a palette (at most 256 classes).
        track: A function of the blocks of the label map and their number that yields the blocks,
            such as one that shows the progress.

    Returns:
        The (height, width) of the image, and the share (0 to 1) of each class, the largest first.

    Raises:
        DataError: If the image, or a tile of it, cannot be read; the message names the file and the
            tile.
        ImportError: If tifffile is not installed (extra `tiff`).
        OSError: If the label map cannot be written.
        ValueError: If the predictor refines with a CRF, or a palette has too many classes.

    Example:
        ```python
        from pathlib import Path

        predictor = Predictor("runs/first/best.keras")
        segment_large(predictor, Path("photo.jpg"), Path("labels.tif"), Windows(32, 8))
        ```
    """
    import_extra("tifffile", "tiff", "A label map in tiles")
    if predictor.crf is not None:
        raise ValueError("A CRF refines whole images. Leave it out, or segment without tiles")
    classes = predictor.classes
    if palette and len(classes) > 256:
        raise ValueError(f"A palette has 256 colours. Received: {len(classes)} classes")
    dtype = np.dtype("uint8" if len(classes) <= 256 else "uint16")
    counts = np.zeros(len(classes), "int64")
    with _opened(file, predictor.pixel_format) as image, whole_file(target) as temporary:
        height, width = image.shape[:2]
        _check_positions(file, (height, width), windows)
        blocks = _blocks((height, width))
        labels = predictor.label_blocks(
            _resized(image), windows.protocol, (height, width), blocks, temporary.parent
        )

        def tiles() -> Iterator[np.ndarray]:
            for found in track(labels, len(blocks)):
                counts[:] += np.bincount(found.ravel(), minlength=len(classes))
                yield found

        write_tiles(temporary, file, tiles(), (height, width), dtype, classes if palette else None)
    return (height, width), list_areas(counts, classes)


@contextmanager
def _opened(file: Path, pixel_format: PixelFormat) -> Iterator[np.ndarray | TiledImage]:
    """Opens a TIFF, or reads an image of another format whole."""
    if is_tiff(file):
        with open_tiled(file, pixel_format) as image:
            yield image
        return
    try:
        pixels = read_pixels(file, pixel_format)
    except DataError as error:
        problem = error.problem(str(file))
        if problem.kind != "too many pixels":
            raise
        raise DataError(
            Problem(
                str(file),
                problem.kind,
                f"{problem.text}. Only a TIFF is read in windows",
                f"Convert it to one: {conversion_command(file)}",
            )
        ) from error
    yield pixels


def _check_positions(file: Path, size: tuple[int, int], windows: Windows) -> None:
    """Checks that positions in windows fit into 32 bits, see `sampling_matrix`."""
    if 2 * (windows.tile + 64) * max(size) >= 2**31:
        limit = 2**30 // (windows.tile + 64)
        raise DataError(
            Problem(
                str(file),
                "too many pixels",
                f"the image has {size[0]:,} x {size[1]:,} pixels (height x width); with tiles of "
                f"{windows.tile} pixels a side may have {limit:,}",
                "Choose smaller tiles, or cut the image into pieces",
            )
        )


def _resized(image: np.ndarray | TiledImage) -> np.ndarray | WindowedImage:
    """Returns an image whose sides are rounded up to multiples of 8, as protocols do."""
    height, width = (max(8, -(-side // 8) * 8) for side in image.shape[:2])
    if isinstance(image, np.ndarray):
        return resize_image(image, (height, width))
    return image if image.shape[:2] == (height, width) else _Resized(image, (height, width))


class _Resized:
    """An enlarged image of which windows are read, with the pixels of `resize_image`.

    Pillow takes the place of a window in float32, which changes pixels by 1. So its arithmetic is
    done here: two neighbours with weights of 22 bits, first along the rows, then along the columns.
    """

    def __init__(self, image: TiledImage, size: tuple[int, int]) -> None:
        self._image = image
        self.shape = (*size, image.shape[2])

    def __getitem__(self, window: Tile, /) -> np.ndarray:
        (down, down_weights), (across, across_weights) = (
            _neighbours(side, length, resized)
            for side, length, resized in zip(window, self._image.shape, self.shape, strict=False)
        )
        rows, columns = slice(down[0, 0], down[1, -1] + 1), slice(across[0, 0], across[1, -1] + 1)
        pixels = np.moveaxis(self._image[rows, columns], 1, 0)
        pixels = np.moveaxis(_interpolate(pixels, across - columns.start, across_weights), 0, 1)
        return _interpolate(pixels, down - rows.start, down_weights)


def _neighbours(side: slice, length: int, resized: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two pixels that each pixel of an enlarged side depends on, and their weights.

    Returns:
        Two arrays (2, pixels): indices, and weights that add up to 1.
    """
    centres = (np.arange(side.start, side.stop) + 0.5) * (length / resized)
    first = np.maximum(centres - 0.5, 0).astype("int64")
    pixels = np.stack([first, first + 1])
    weights = np.maximum(1 - np.abs(pixels - centres + 0.5), 0) * (pixels < length)
    return np.minimum(pixels, length - 1), weights / weights.sum(axis=0)


def _interpolate(pixels: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolates along the first axis of `(length, others, channels)`."""
    first, second = pixels[indices[0]], pixels[indices[1]]
    one, two = weights[..., None, None]
    if pixels.dtype != np.uint8:
        return (first * one + second * two).astype("float32")
    one, two = (np.floor(part * 2**_BITS + 0.5).astype("int32") for part in (one, two))
    return ((first * one + second * two + 2 ** (_BITS - 1)) >> _BITS).astype("uint8")


def _blocks(size: tuple[int, int]) -> list[Tile]:
    rows, columns = (
        [slice(start, min(start + SIDE, side)) for start in range(0, side, SIDE)] for side in size
    )
    return list(itertools.product(rows, columns))
