"""The data sets of a run."""

from pdanet_tf.data import SegmentationDataset, load_dataset
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.inputs import Inputs


def open_split(config: TrainConfig, inputs: Inputs, split: str) -> SegmentationDataset:
    """Returns a split of the data set of a run, or the caller's own in place of it.

    Args:
        config: The run.
        inputs: The Python objects that the caller gave.
        split: "train" or "validation".

    Raises:
        ValueError: As `load_dataset`.
        DataError: Likewise.
    """
    if (own := inputs.dataset(config, split)) is not None:
        return own
    return load_dataset(
        config.dataset,
        split,
        config.data_dir,
        image_pattern=config.image_pattern,
        annotation_pattern=config.annotation_pattern,
        split_lists=config.split_lists,
        num_classes=config.num_classes,
        class_names=config.class_names,
        class_colors=config.class_colors,
        label_offset=config.label_offset,
        ignore_label=config.ignore_label,
        channels=config.channels,
    )
