"""The crop recipe: images randomly scaled, cropped to one size, flipped and recoloured."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pdanet_tf.data.bands import BandImage, as_array, as_image
from pdanet_tf.data.batches.augment_function import AugmentFunction
from pdanet_tf.data.batches.augmentation import (
    Augmentation,
    RotatedWindow,
    blur_image,
    lose_resolution,
)
from pdanet_tf.data.batches.sampling import (
    Sample,
    nearest_indices,
    shuffled,
    subsample_label,
    variation,
)
from pdanet_tf.data.dataset import SegmentationDataset

# From RGB to luma and the two axes of chroma (NTSC).
_YIQ = np.array([(0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


@dataclass(frozen=True)
class CropRecipe:
    """Samples of `pdanet_tf.data.batches.pipeline.crop_batches`, which describes the attributes."""

    dataset: SegmentationDataset
    crop_size: tuple[int, int]
    short_edge: int | None
    scale_range: tuple[float, float]
    flip: bool
    color_jitter: float
    label_stride: int
    label_start: int | None
    seed: int
    pad_color: tuple[float, ...] = (0.0, 0.0, 0.0)
    augmentation: Augmentation | None = None
    augment: AugmentFunction | None = None

    def sample(self, position: int) -> Sample:
        """Returns the sample at a position of the endless stream."""
        epoch, place = divmod(position, len(self.dataset))
        index = int(shuffled(self.seed, epoch, len(self.dataset))[place])
        image, label = self.dataset.read_pil(index)
        if self.augment:
            pixels, label = self.augment(as_array(image), label, index, position)
            image = as_image(pixels)
        rng = variation(self.seed, position)
        scale = rng.uniform(*self.scale_range)
        factor = scale * (self.short_edge or min(label.shape)) / min(label.shape)
        window = _Window.for_crop(label.shape, factor, self.crop_size, (rng.random(), rng.random()))
        flipped = rng.random() < 0.5 and self.flip
        changes = self.augmentation.draw(self.seed, position) if self.augmentation else None
        rotated = self._rotate(window, changes.angle, label.shape) if changes else None
        crop = window.cut(image) if rotated is None else rotated.cut(np.asarray(image))
        if isinstance(crop, np.ndarray):
            crop = as_image(crop, self.dataset.pixel_format)
        if flipped:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.color_jitter:
            crop = jitter_colors(crop, self.color_jitter, rng)
        pixels = np.asarray(crop)
        if changes:
            pixels = lose_resolution(blur_image(pixels, changes.sigma), changes.factor)
        stride, start = self.label_stride, self.label_start
        if rotated:
            pixels = rotated.fill_outside(pixels, flipped)
            void_label = self.dataset.void_label
            label = rotated.subsampled_label(label, stride, start, void_label, flipped)
        else:
            rows, columns = window.indices(label.shape)
            columns = columns[::-1] if flipped else columns
            label = subsample_label(label, rows, columns, stride, start)
        return Sample(pixels, label, self.crop_size)

    def _rotate(
        self, window: "_Window", angle: float, shape: tuple[int, ...]
    ) -> RotatedWindow | None:
        """Returns a window that is rotated as well; None if the angle is 0."""
        if not angle:
            return None
        return RotatedWindow(window.box, window.size, angle, shape, self.pad_color)


@dataclass(frozen=True)
class _Window:
    """A part of an image, and the size that it is scaled to.

    Only the window is scaled, so the whole image is never in memory at its scaled size.
    """

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image
    size: tuple[int, int]  # width and height

    @classmethod
    def for_crop(
        cls,
        shape: tuple[int, ...],
        factor: float,
        crop_size: tuple[int, int],
        place: tuple[float, float],
    ) -> "_Window":
        """Returns the window of an image that becomes a crop of the scaled image.

        Args:
            shape: (height, width) of the image.
            factor: Scale of the image.
            crop_size: (height, width) of the crop; an image that is smaller than this
                after scaling is not cropped.
            place: Relative vertical and horizontal position of the crop, each from 0 to 1.
        """
        spans = []
        for side, crop, share in zip(shape, crop_size, place, strict=True):
            scaled = max(1, round(side * factor))
            size = min(scaled, crop)
            start = int(share * (scaled - size + 1))
            spans.append((start * side / scaled, (start + size) * side / scaled, size))
        (top, bottom, height), (left, right, width) = spans
        return cls((left, top, right, bottom), (width, height))

    def cut(self, image: Image.Image | BandImage) -> Image.Image | BandImage:
        """Returns the window of an image, scaled bilinearly."""
        return image.resize(self.size, Image.Resampling.BILINEAR, box=self.box)

    def indices(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows and columns that a nearest-neighbour resize of the window selects."""
        left, top, right, bottom = self.box
        width, height = self.size
        return (
            nearest_indices(shape[0], height, (top, bottom)),
            nearest_indices(shape[1], width, (left, right)),
        )


def jitter_colors(
    image: Image.Image | BandImage, strength: float, rng: np.random.Generator
) -> Image.Image | BandImage:
    """Changes brightness, contrast, saturation and hue at random.

    The ranges are those of torchvision's `ColorJitter(strength, strength, strength,
    strength / 4)`, in the proportions of SimCLR. The hue is rotated in the plane of chroma (YIQ)
    instead of in HSV: all four changes are then linear in RGB, so one matrix applies them in one
    pass, and no value is clipped in between.

    An image that has not three channels has no saturation and no hue. Its channels get the same
    factors of brightness and contrast, so that the ratios of channels, such as vegetation indices,
    change with the contrast alone. Contrast is the distance to the mean of the channel.

    Args:
        image: An RGB image, or one of other channels.
        strength: From 0 (none) to 1. Factors of brightness, contrast and saturation are drawn
            from 1 - strength to 1 + strength, the rotation of the hue from -strength / 4 to
            strength / 4 of the circle.
        rng: The random generator.
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    angle = 2 * math.pi * rng.uniform(-strength / 4, strength / 4)
    if isinstance(image, BandImage) and len(image.bands) != 3:
        means = np.asarray(image).mean((0, 1), "float64")
        factors = brightness * contrast * np.eye(len(image.bands))
        return image.mixed(factors, brightness * (1 - contrast) * means)
    cosine, sine = saturation * math.cos(angle), saturation * math.sin(angle)
    rotation = np.array([(1, 0, 0), (0, cosine, -sine), (0, sine, cosine)])
    colors = brightness * contrast * np.linalg.inv(_YIQ) @ rotation @ _YIQ
    # Contrast changes the distance to the mean luma, as in torchvision.
    gray = brightness * (1 - contrast) * _mean_luma(image)
    if isinstance(image, BandImage):
        return image.mixed(colors, np.full(3, gray))
    matrix = np.column_stack([colors, np.full(3, gray)])
    return image.convert("RGB", tuple(matrix.ravel().tolist()))


def _mean_luma(image: Image.Image | BandImage) -> float:
    if isinstance(image, BandImage):
        return float(_YIQ[0] @ np.asarray(image).mean((0, 1), "float64"))
    return np.asarray(image.convert("L")).mean()
