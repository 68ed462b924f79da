"""The format of the images of a run, and the mean and standard deviation of their channels."""

import dataclasses

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.statistics import channel_statistics
from pdanet_tf.training.config import TrainConfig


def check_same_format(train: SegmentationDataset, validation: SegmentationDataset) -> None:
    """Checks that both splits have images of the same channels and type of values.

    Raises:
        DataError: If they differ.
    """
    if train.pixel_format != validation.pixel_format:
        raise DataError(
            f"The training images have {train.pixel_format}, the validation images have "
            f"{validation.pixel_format}. Save all images in the same format"
        )


def with_statistics(config: TrainConfig, train: SegmentationDataset) -> TrainConfig:
    """Returns a configuration with the mean and the standard deviation of every channel.

    What the configuration leaves open comes from the data set. If the images are not RGB with 8
    bits, what neither has is measured on the data set. For RGB images it stays None, which stands
    for that of the normalisation.

    Args:
        config: The run.
        train: The training split.
    """
    mean, std = config.mean or train.mean, config.std or train.std
    if train.pixel_format.is_rgb:
        return dataclasses.replace(config, mean=mean, std=std)
    if mean is None or std is None:
        measured = channel_statistics(train)
        mean, std = mean or measured[0], std or measured[1]
    channels = train.pixel_format.channels
    return dataclasses.replace(config, channels=channels, mean=mean, std=std)
