"""From a data set to batches for training, in tf.data.

Every step of the pipeline is a pure function of the seed and of a sample's position in the
endless stream of training samples. So the same seed gives the same batches whatever the machine,
and a run can begin at any step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image

from pdanet_tf.data.dataset import SegmentationDataset


def training_batches(
    dataset: SegmentationDataset,
    batch_size: int,
    crop_size: tuple[int, int],
    *,
    short_edge: int | None = None,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    label_stride: int = 8,
    pad_color: Sequence[float] = (0.0, 0.0, 0.0),
    seed: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Returns an endless stream of shuffled, randomly scaled, cropped and flipped batches.

    Image and labels are transformed together; labels always by nearest neighbour. Every sample
    comes once per epoch, in an order of its own for each epoch.

    Args:
        dataset: Images and labels.
        batch_size: Number of images per batch.
        crop_size: (height, width) of the crops, multiples of `label_stride`. Images that are
            smaller are padded, with `pad_color` and with the ignore label.
        short_edge: The short edge that images are scaled to before the random scale; None takes
            their own.
        scale_range: Lowest and highest random scale.
        flip: Whether to flip every other image from left to right.
        label_stride: Every so many labels in both directions are kept: 8 for logits at 1/8.
        pad_color: RGB, 0 to 255.
        seed: Seed of everything random.
        start_step: Number of the first batch: batches are the same as if all before had been
            drawn.

    Returns:
        Batches of images `(batch_size, *crop_size, 3)`, float32, RGB, 0 to 255, and labels
        `(batch_size, height / label_stride, width / label_stride)`, int32.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_pipeline_arguments(batch_size, crop_size, scale_range, label_stride)
    count = len(dataset)
    background = tf.constant(pad_color, "float32")

    def draw(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch = position // count
        index = tf.random.experimental.index_shuffle(
            position % count,
            seed=tf.stack([tf.constant(seed, "int64"), epoch]),
            max_index=count - 1,
        )
        return index, tf.random.stateless_uniform((4,), tf.stack([seed, position]))

    def read(index: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, label = dataset.read(int(index))
        lowest, highest = scale_range
        scale = lowest + float(random[0]) * (highest - lowest)
        factor = scale * (short_edge or min(label.shape)) / min(label.shape)
        window = _Window.of(label.shape, factor, crop_size, (float(random[1]), float(random[2])))
        return window.cut_image(image), window.cut_label(label)

    def load(index: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(read, (index, random), (tf.uint8, tf.int32))
        image.set_shape((None, None, 3))
        label.set_shape((None, None))
        missing = tf.constant(crop_size) - tf.shape(label)
        paddings = tf.stack([tf.zeros(2, tf.int32), missing], axis=1)
        image = tf.pad(tf.cast(image, "float32") - background, tf.pad(paddings, [[0, 1], [0, 0]]))
        label = tf.pad(label, paddings, constant_values=dataset.ignore_label)
        if flip and random[3] < 0.5:
            image, label = tf.reverse(image, axis=[1]), tf.reverse(label, axis=[1])
        image = tf.ensure_shape(image + background, (*crop_size, 3))
        label = tf.ensure_shape(label, crop_size)
        middle = label_stride // 2
        return image, label[middle::label_stride, middle::label_stride]

    positions = tf.data.Dataset.range(start_step * batch_size, np.iinfo("int64").max)
    batches = (
        positions.map(draw)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    options = tf.data.Options()
    # The stream of positions has no files to be dealt out to workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


@dataclass(frozen=True)
class _Window:
    """A part of an image, and the size that it is scaled to.

    Only the window is scaled: a large photograph is never held in full at twice its size.
    """

    box: tuple[float, float, float, float]  # left, top, right, bottom in the image's pixels
    size: tuple[int, int]  # width and height

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        factor: float,
        crop_size: tuple[int, int],
        place: tuple[float, float],
    ) -> "_Window":
        """Returns the window of the crop's size at a relative place (0 to 1) of a scaled image."""
        spans = []
        for side, crop, share in zip(shape, crop_size, place, strict=True):
            scaled = max(1, round(side * factor))
            size = min(scaled, crop)
            start = int(share * (scaled - size + 1))
            spans.append((start * side / scaled, (start + size) * side / scaled, size))
        (top, bottom, height), (left, right, width) = spans
        return cls((left, top, right, bottom), (width, height))

    def cut_image(self, image: np.ndarray) -> np.ndarray:
        """Scales the window of an image bilinearly."""
        return self._cut(image, Image.Resampling.BILINEAR)

    def cut_label(self, label: np.ndarray) -> np.ndarray:
        """Scales the window of labels by nearest neighbour."""
        return self._cut(label, Image.Resampling.NEAREST)

    def _cut(self, array: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(array).resize(self.size, resampling, box=self.box))


def check_pipeline_arguments(
    batch_size: int,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    label_stride: int = 1,
) -> None:
    """Raises `ValueError` if an argument of `training_batches` is out of range."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size}")
    if min(crop_size) < 1 or any(side % label_stride for side in crop_size):
        raise ValueError(
            f"crop_size must be positive multiples of {label_stride}. "
            f"Received: crop_size={tuple(crop_size)}"
        )
    if not 0 < scale_range[0] <= scale_range[1]:
        raise ValueError(
            "scale_range must be (lowest, highest), both above 0. "
            f"Received: scale_range={tuple(scale_range)}"
        )
