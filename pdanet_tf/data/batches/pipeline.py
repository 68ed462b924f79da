"""The tf.data pipeline: turns a data set and a recipe into batches for training.

Every sample is a pure function of the seed and of its position in the endless stream of training
samples. Therefore the same seed gives the same batches on every machine, and a run can start at
any step.
"""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pdanet_tf.base.ranges import (
    check_at_least,
    check_crop_size,
    check_scale_range,
    check_share,
    check_short_edges,
)
from pdanet_tf.data.batches.augment_function import Augment, AugmentFunction
from pdanet_tf.data.batches.augmentation import Augmentation
from pdanet_tf.data.batches.crop import CropRecipe
from pdanet_tf.data.batches.paper import PaperRecipe
from pdanet_tf.data.batches.sampling import SampleSource
from pdanet_tf.data.batches.tf_bridge import ErrorRecordingDataset, counted
from pdanet_tf.data.dataset import SegmentationDataset


def crop_batches(
    dataset: SegmentationDataset,
    batch_size: int,
    crop_size: tuple[int, int],
    *,
    short_edge: int | None = None,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    color_jitter: float = 0.4,
    rotation: float = 0.0,
    blur: float = 0.0,
    downscale: float = 1.0,
    augment: Augment | None = None,
    label_stride: int = 8,
    label_start: int | None = None,
    pad_color: Sequence[float] | None = None,
    seed: int = 0,
    start_step: int = 0,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns an endless stream of shuffled, randomly scaled, cropped and flipped batches.

    Image and label map are transformed together, the label map by nearest neighbour. Every sample
    occurs once per epoch, and each epoch has its own order. All batches have the same shape, so
    XLA compiles the training step once.

    Args:
        dataset: Images and label maps.
        batch_size: Number of images per batch.
        crop_size: (height, width) of the crops. Smaller images are padded at the bottom and right,
            with `pad_color` and with the data set's `void_label`.
        short_edge: The short edge that images are scaled to before the random scale; None keeps
            the size of each image.
        scale_range: Lowest and highest random scale.
        flip: Whether to flip images from left to right with a probability of 0.5.
        color_jitter: Strength of the random changes of brightness, contrast, saturation and hue,
            from 0 (none) to 1: factors are between 1 - color_jitter and 1 + color_jitter, and the
            hue is rotated by up to color_jitter / 4 of the circle (torchvision's `ColorJitter`).
            Of images that have not three channels, it changes brightness and contrast.
        rotation: Largest angle in degrees by which crops are rotated about their middle, in both
            directions. Scaling and rotating are one resampling. What lies outside the image
            becomes `pad_color` (rounded) and the data set's `void_label`.
        blur: Largest standard deviation of a Gaussian blur, in pixels of the crop.
        downscale: Largest factor by which crops are scaled down, and up again; at least 1. Angle,
            blur and factor of a sample are drawn uniformly, from none to the largest. The blur
            and the loss of resolution come last, after the colours.
        augment: A function of your own from an image and its label map to both, changed, for whole
            images before they are scaled and cropped; see `AugmentFunction`.
        label_stride: Stride of the labels in both directions: 8 for logits at 1/8. Cell i has the
            label at pixel label_start + label_stride * i, or `void_label` if that pixel is outside
            the crop.
        label_start: Row and column of the first label, at least 0: the centre of the model's first
            cell. None takes the middle of the cell, label_stride // 2, as the reference does.
        pad_color: One number per channel, in the values of the images; None for 0.
        seed: Seed of all random numbers.
        start_step: Index of the first batch. The batches are the same as if all batches before it
            had been drawn.
        share: (index, number): each batch is divided into a number of shares, and the one of this
            index is returned, for a device that trains together with others. The first shares have
            an image more than the others if the batch does not divide.

    Returns:
        Batches of images `(batch_size, *crop_size, channels)`, float32, in the values of the data
        set (RGB from 0 to 255), and labels
        `(batch_size, ceil(height / label_stride), ceil(width / label_stride))`, int32.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: If `augment` cannot be called with an image and a label map.
    """
    check_crop_arguments(
        dataset, batch_size, crop_size, scale_range, color_jitter, label_stride, label_start
    )
    augmentation = Augmentation(rotation, blur, downscale)
    background = _background(dataset, pad_color)
    recipe = CropRecipe(
        dataset,
        crop_size,
        short_edge,
        scale_range,
        flip,
        color_jitter,
        label_stride,
        label_start,
        seed,
        tuple(background.tolist()),
        augmentation if augmentation.is_on else None,
        augment and AugmentFunction(augment, dataset, seed),
    )
    void_label = dataset.void_label
    return _batches(
        recipe, batch_size, label_stride, background, void_label, start_step, share, crop_size
    )


def paper_batches(
    dataset: SegmentationDataset,
    batch_size: int,
    *,
    short_edges: Sequence[int] = (300, 375, 450, 525, 600),
    max_size: int = 1000,
    flip: bool = True,
    augment: Augment | None = None,
    label_stride: int = 8,
    label_start: int | None = None,
    pad_color: Sequence[float] | None = None,
    seed: int = 0,
    start_step: int = 0,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns an endless stream of the reference's batches: whole images of one orientation.

    Each pass over the data has its own order. Portraits (higher than wide) and landscapes are
    batched separately: as soon as there are `batch_size` images of one orientation, they become a
    batch. Images left over at the end of a pass are used in the next one. Each batch is scaled to
    a short edge drawn for it, so batches differ in shape.

    Label maps are scaled by nearest neighbour, and then subsampled by `label_stride`, so that the
    loss is computed at 1 / `label_stride`.

    Args:
        dataset: Images and label maps. The size of every image is read at the start.
        batch_size: Number of images per batch.
        short_edges: The short edges from which that of each batch is drawn.
        max_size: Upper limit of the long edge in pixels; an image that would exceed it gets a
            shorter short edge.
        flip: Whether to flip images from left to right with a probability of 0.5.
        augment: As in `crop_batches`, but it must not change the size of an image.
        label_stride: Stride of the labels in both directions: 8 for logits at 1/8.
        label_start: As in `crop_batches`.
        pad_color: One number per channel, in the values of the images: the pixel mean of the
            model's normalisation (`pdanet_tf.layers.pixel_mean`), so that the padding is zero after
            normalisation. None for 0.
        seed: Seed of all random numbers.
        start_step: Index of the first batch. The batches are the same as if all batches before it
            had been drawn.
        share: (index, number): each batch is divided into a number of shares, and the one of this
            index is returned, for a device that trains together with others. The first shares have
            an image more than the others if the batch does not divide.

    Returns:
        Batches of images `(batch_size, height, width, channels)`, float32, in the values of the
        data set (RGB from 0 to 255), padded at the bottom and right with `pad_color` to the largest
        height and width of the batch, rounded up to a multiple of 8 (and of `label_stride`); and
        labels
        `(batch_size, height / label_stride, width / label_stride)`, int32, padded with the data
        set's `void_label`.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: If `augment` cannot be called with an image and a label map.
        DataError: If the size of an image cannot be read.

    Example:
        ```python
        dataset = pdanet_tf.load_dataset("ade20k", "train", "ADEChallengeData2016")
        batches = paper_batches(dataset, 8, pad_color=pdanet_tf.layers.pixel_mean("torch"))
        images, labels = next(iter(batches))
        ```
    """
    check_paper_arguments(dataset, batch_size, short_edges, max_size, label_stride, label_start)
    function = augment and AugmentFunction(augment, dataset, seed, keeps_size=True)
    recipe = PaperRecipe(
        dataset,
        batch_size,
        tuple(short_edges),
        max_size,
        flip,
        label_stride,
        label_start,
        seed,
        function,
    )
    void_label, background = dataset.void_label, _background(dataset, pad_color)
    return _batches(recipe, batch_size, label_stride, background, void_label, start_step, share)


def _background(dataset: SegmentationDataset, pad_color: Sequence[float] | None) -> np.ndarray:
    """Returns the values of the padding, `(channels,)`, float32."""
    channels = dataset.pixel_format.channels
    if pad_color is None:
        return np.zeros(channels, "float32")
    if len(pad_color) != channels:
        raise ValueError(
            f"pad_color must have one number per channel, {channels}. "
            f"Received: pad_color={tuple(pad_color)}"
        )
    return np.array(pad_color, "float32")


def _batches(
    recipe: SampleSource,
    batch_size: int,
    label_stride: int,
    background: np.ndarray,
    void_label: int,
    start_step: int,
    share: tuple[int, int],
    size: tuple[int | None, int | None] = (None, None),
) -> tf.data.Dataset:
    """Reads samples in parallel, pads them, and batches them in order.

    `size` is the (height, width) of all padded images; None if it differs between batches.
    """
    read = counted(functools.partial(_read_padded, recipe, label_stride, background, void_label))
    if isinstance(recipe.dataset, ErrorRecordingDataset):
        read = recipe.dataset.recording_errors(read)
    grid = tuple(side and -(-side // label_stride) for side in size)

    def load(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(read, (position,), (tf.float32, tf.int32))
        return tf.ensure_shape(image, (*size, len(background))), tf.ensure_shape(label, grid)

    index, number = share
    if batch_size < number:
        raise ValueError(
            f"batch_size must be at least the number of shares, {number}. "
            f"Received: batch_size={batch_size}"
        )
    size_of_share, rest = divmod(batch_size, number)
    first = index * size_of_share + min(index, rest)
    size_of_share += index < rest
    positions = tf.data.Dataset.range(start_step * batch_size, np.iinfo("int64").max)
    if number > 1:
        positions = positions.filter(
            lambda at: (first <= at % batch_size) & (at % batch_size < first + size_of_share)
        )
    batches = (
        positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(size_of_share, drop_remainder=True)
        # Two batches: one is ready while the next is made. More would take much memory, because
        # batches of whole images are large.
        .prefetch(2)
    )
    options = tf.data.Options()
    # The stream of positions has no files that could be distributed among workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def _read_padded(
    recipe: SampleSource,
    label_stride: int,
    background: np.ndarray,
    void_label: int,
    position: np.int64,
) -> tuple[np.ndarray, np.ndarray]:
    image, label, (height, width) = recipe.sample(int(position))
    # Assigning to a slice also converts to float32, which saves passes over the image.
    padded = np.empty((height, width, len(background)), "float32")
    padded_label = np.empty((-(-height // label_stride), -(-width // label_stride)), "int32")
    _fill(padded, image, background)
    _fill(padded_label, label, void_label)
    return padded, padded_label


def _fill(target: np.ndarray, part: np.ndarray, rest: np.ndarray | int) -> None:
    """Writes `part` to the top left of `target`, and `rest` to the right of it and below."""
    height, width = part.shape[:2]
    target[:height, :width] = part
    target[:height, width:] = rest
    target[height:] = rest


def check_crop_arguments(
    dataset: SegmentationDataset,
    batch_size: int,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    color_jitter: float,
    label_stride: int = 1,
    label_start: int | None = None,
) -> None:
    """Raises `ValueError` if an argument of `crop_batches` is out of range."""
    _check_common(dataset, batch_size, label_stride, label_start)
    check_crop_size(crop_size)
    check_scale_range(scale_range)
    check_share("color_jitter", color_jitter)


def check_paper_arguments(
    dataset: SegmentationDataset,
    batch_size: int,
    short_edges: Sequence[int],
    max_size: int,
    label_stride: int = 1,
    label_start: int | None = None,
) -> None:
    """Raises `ValueError` if an argument of `paper_batches` is out of range."""
    _check_common(dataset, batch_size, label_stride, label_start)
    check_short_edges(short_edges)
    check_at_least("max_size", max_size, 1)


def _check_common(
    dataset: SegmentationDataset, batch_size: int, label_stride: int, label_start: int | None
) -> None:
    if label_start is not None:
        check_at_least("label_start", label_start, 0)
    if len(dataset) < 1:
        raise ValueError("There must be at least one image. Received: an empty data set")
    check_at_least("batch_size", batch_size, 1)
    check_at_least("label_stride", label_stride, 1)
