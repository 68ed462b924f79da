"""The inference protocol: sizes, windows and mirror images."""

import itertools
from dataclasses import dataclass

from PIL import Image

from pdanet_tf.base.fields import check_fields, shorten
from pdanet_tf.data.problems import DataError

_LARGEST = 65_535  # largest side of a JPEG


@dataclass(frozen=True)
class Protocol:
    """How images are presented to a model: at which sizes, whole or in windows, mirrored or not.

    For each short edge, the image is resized so that its short side has this length, or less where
    its long side would exceed `max_size`. Then both sides are rounded up to multiples of 8. The
    probabilities are averaged over the sizes. This is the protocol of the reference, which uses
    450, or 300, 375, 450, 525 and 600.

    The settings of a model may come from a stranger, and must not ask for any amount of memory:
    no side may exceed 65,535 pixels, and an image may not be resized to more pixels than the
    reader accepts, see `pdanet_tf.data.read_image`.

    Attributes:
        short_edges: Short edges in pixels, or None for the image's own size.
        max_size: Upper limit of the long edge in pixels, before both sides are rounded up to
            multiples of 8.
        flip: Whether to average the probabilities over the image and its left-right mirror image.
        crop_size: (height, width) of the windows that slide over the resized image, multiples of
            8, for models trained on crops; the probabilities of overlapping windows are averaged.
            None for the whole image at once.
        stride: (rows, columns) from one window to the next; two thirds of a window by default.

    Raises:
        ValueError: If a value has another type or is out of range.
    """

    short_edges: tuple[int, ...] | None = None
    max_size: int = 1000
    flip: bool = False
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        edges = self.short_edges
        sides = (self.max_size,) if edges is None else (*edges, self.max_size)
        if edges == () or not all(1 <= side <= _LARGEST for side in sides):
            raise ValueError(
                f"short_edges and max_size must be from 1 to {_LARGEST:,} pixels. "
                f"Received: short_edges={shorten(edges)}, max_size={self.max_size}"
            )
        crop, stride = self.crop_size, self.stride
        if crop is not None and not all(8 <= side <= _LARGEST and side % 8 == 0 for side in crop):
            raise ValueError(
                f"crop_size must be multiples of 8, up to {_LARGEST:,} pixels. "
                f"Received: crop_size={crop}"
            )
        if stride is not None and crop is None:
            raise ValueError(f"stride requires crop_size. Received: stride={stride}")
        if stride is not None and not all(
            1 <= step <= side for step, side in zip(stride, crop or (), strict=True)
        ):
            raise ValueError(
                "stride must be at least 1 and at most crop_size, so that windows leave no gap. "
                f"Received: stride={stride}, crop_size={crop}"
            )

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Returns every (height, width) to which an image of the given size is resized.

        Raises:
            DataError: If they have more pixels in all than 2 x `PIL.Image.MAX_IMAGE_PIXELS`.
        """
        sizes = [self._size(size, edge) for edge in self.short_edges or (min(size),)]
        pixels = sum(height * width for height, width in sizes)
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and pixels > 2 * limit:
            raise DataError(
                f"short_edges={shorten(self.short_edges)} and max_size={self.max_size} resize an "
                f"image of {size[0]} x {size[1]} pixels (height x width) to {pixels:,} pixels, "
                f"more than the limit of {2 * limit:,}, which protects the memory. Choose smaller "
                "ones, or raise PIL.Image.MAX_IMAGE_PIXELS (command line: PDANET_TF_MAX_PIXELS)"
            )
        return sizes

    def _size(self, size: tuple[int, int], short_edge: int) -> tuple[int, int]:
        scale = min(short_edge / min(size), self.max_size / max(size))
        height, width = (max(8, -(-int(side * scale) // 8) * 8) for side in size)
        return height, width

    def windows(self, size: tuple[int, int]) -> list[tuple[slice, slice]]:
        """Returns the windows (rows, columns) of an image that was resized to `size`.

        They are ordered from top to bottom, then from left to right. The last window of a row or
        column ends at the edge of the image.
        """
        crops = self.crop_size or size
        steps = self.stride or tuple(max(1, 2 * side // 3) for side in crops)
        rows, columns = (
            _slices(side, min(crop, side), step)
            for side, crop, step in zip(size, crops, steps, strict=True)
        )
        return list(itertools.product(rows, columns))


def _slices(side: int, crop: int, step: int) -> list[slice]:
    starts = [*range(0, side - crop, step), side - crop]
    return [slice(start, start + crop) for start in starts]
