"""From a data set to batches for training, in tf.data.

Every step of the pipeline is a pure function of the seed and of a sample's position in the
endless stream of training samples. So the same seed gives the same batches whatever the machine,
and a run can begin at any step.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.readers import resize_image, resize_label


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
    _check_arguments(batch_size, crop_size, scale_range, label_stride)
    count = len(dataset)

    def draw(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch = position // count
        index = tf.random.experimental.index_shuffle(
            position % count,
            seed=tf.stack([tf.constant(seed, "int64"), epoch]),
            max_index=count - 1,
        )
        return index, tf.random.stateless_uniform((4,), tf.stack([seed, position]))

    def read(index: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, label = dataset.read(int(index))
        edge = short_edge or min(label.shape)
        factor = float(scale) * edge / min(label.shape)
        size = (max(1, round(label.shape[0] * factor)), max(1, round(label.shape[1] * factor)))
        return resize_image(image, size), resize_label(label, size)

    def load(index: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lowest, highest = scale_range
        scale = lowest + random[0] * (highest - lowest)
        image, label = tf.numpy_function(read, (index, scale), (tf.uint8, tf.int32))
        image.set_shape((None, None, 3))
        label.set_shape((None, None))
        # Image and label go through every step as one tensor, so that they stay together.
        pixels = tf.concat(
            [
                tf.cast(image, "float32") - tf.constant(pad_color, "float32"),
                tf.cast(label - dataset.ignore_label, "float32")[..., None],
            ],
            axis=-1,
        )
        pixels = _pad_and_crop(pixels, crop_size, random[1], random[2])
        if flip and random[3] < 0.5:
            pixels = tf.reverse(pixels, axis=[1])
        image = pixels[..., :3] + tf.constant(pad_color, "float32")
        label = tf.cast(pixels[..., 3], "int32") + dataset.ignore_label
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


def _pad_and_crop(
    pixels: tf.Tensor, crop_size: tuple[int, int], row: tf.Tensor, column: tf.Tensor
) -> tf.Tensor:
    """Pads with zeros at the bottom and right, and cuts a window at a relative place (0 to 1)."""
    for axis, (crop, place) in enumerate(zip(crop_size, (row, column), strict=True)):
        missing = tf.maximum(crop - tf.shape(pixels)[axis], 0)
        paddings = [[0, 0] for _ in range(3)]
        paddings[axis] = [0, missing]
        pixels = tf.pad(pixels, paddings)
        room = tf.shape(pixels)[axis] - crop
        start = tf.cast(place * tf.cast(room + 1, "float32"), "int32")
        pixels = tf.gather(pixels, tf.range(start, start + crop), axis=axis)
    return tf.ensure_shape(pixels, (*crop_size, 4))


def _check_arguments(
    batch_size: int,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    label_stride: int,
) -> None:
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
