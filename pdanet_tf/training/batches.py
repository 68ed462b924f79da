"""The training batches of a run."""

import os
from typing import Any

import keras
import tensorflow as tf

from pdanet_tf.data import SegmentationDataset
from pdanet_tf.data.batches.augment_function import Augment, AugmentFunction
from pdanet_tf.data.batches.pipeline import (
    check_crop_arguments,
    check_paper_arguments,
    crop_batches,
    paper_batches,
)
from pdanet_tf.layers import pixel_mean
from pdanet_tf.models.inspection import logits_of, split_upsampling
from pdanet_tf.training.config import TrainConfig


def check_batches(config: TrainConfig, dataset: SegmentationDataset) -> None:
    """Checks the options of the batches.

    Raises:
        ValueError: If one of them does not fit the data set, or a batch does not fit into memory.
    """
    check = check_paper_arguments if config.recipe == "paper" else check_crop_arguments
    check(dataset, config.batch_size, **_recipe_options(config))
    _check_memory(config, dataset.pixel_format.channels)


def try_augment(config: TrainConfig, dataset: SegmentationDataset, augment: Augment) -> None:
    """Calls an augmentation of the user's own with the first image.

    Raises:
        DataError: If it raises an error, or returns what cannot be trained on.
    """
    function = AugmentFunction(augment, dataset, config.seed, keeps_size=config.recipe == "paper")
    function(*dataset.read(0), index=0, position=0)


def _check_memory(config: TrainConfig, channels: int) -> None:
    """Raises if the images of one batch take more memory than the machine has."""
    if not hasattr(os, "sysconf"):  # on Windows
        return
    if config.crop_size is not None:
        height, width = config.crop_size
    else:  # the largest batch of the paper's recipe is at least as large as this
        height = width = min(max(config.short_edges or (1,)), config.max_size)
    needed = config.batch_size * height * width * channels * 4  # float32
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise ValueError(
            f"A batch of {config.batch_size:,} images of {height:,} x {width:,} pixels takes "
            f"{needed / 2**30:,.0f} GiB, and this machine has {available / 2**30:,.0f} GiB. Reduce "
            f"batch_size or {'short_edges' if config.crop_size is None else 'crop_size'}"
        )


def make_batches(
    config: TrainConfig,
    dataset: SegmentationDataset,
    model: keras.Model,
    start_step: int,
    augment: Augment | None = None,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns endless batches of images and labels, for the loss at `config.loss_size`.

    Args:
        config: The run.
        dataset: The training split.
        model: The model that is trained.
        start_step: Number of steps that are already complete.
        augment: An augmentation of the user's own.
        share: Which share of each batch is returned, and the number of shares.
    """
    options: dict[str, Any] = {
        **_recipe_options(config),
        "flip": config.flip,
        **_label_options(config, model),
        "pad_color": pixel_mean(config.normalization, config.mean),
        "seed": config.seed,
        "start_step": start_step,
        "augment": augment,
        "share": share,
    }
    if config.recipe == "paper":
        batches = paper_batches(dataset, config.batch_size, **options)
    else:
        options["short_edge"] = config.short_edge
        extra = {name: getattr(config, name) for name in ("rotation", "blur", "downscale")}
        options |= {name: value for name, value in extra.items() if value is not None}
        batches = crop_batches(dataset, config.batch_size, **options)
    if config.aux_head:
        batches = batches.map(lambda x, y: (x, {"logits": y, "aux_logits": y}))
    return batches


def _recipe_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options of the recipe that must fit the data set."""
    names = (
        ("short_edges", "max_size")
        if config.recipe == "paper"
        else ("crop_size", "scale_range", "color_jitter")
    )
    return {name: getattr(config, name) for name in names}


def _label_options(config: TrainConfig, model: keras.Model) -> dict[str, Any]:
    """Returns at which pixels of an image the labels are taken."""
    if config.loss_size == "labels":  # the loss places the logits in the image
        return {"label_stride": 1, "label_start": 0}
    _, grid = split_upsampling(model)
    return {
        "label_stride": _label_stride(model),
        # The label of a cell is that of the pixel at which inference places the cell.
        "label_start": None if grid is None else int(grid.first + 0.5),
    }


def _label_stride(model: keras.Model) -> int:
    """Returns the stride of the model's logits, at which the loss is computed."""
    side = 256  # large enough for the logits of every model
    shape = logits_of(model.compute_output_shape((1, side, side, model.input_shape[-1])))
    return -(-side // shape[1])
