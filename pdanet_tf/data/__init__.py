"""Data: images with labels from folders or drawn from a seed, and batches of them.

`pdanet_tf.data.pipeline`, `Ade20k` and `PreparedDataset` need TensorFlow; everything else here does
not.
"""

from typing import TYPE_CHECKING

from pdanet_tf.choices import DATASETS
from pdanet_tf.data.ade20k import ADE20K_CLASSES
from pdanet_tf.data.camvid import CAMVID_CLASSES
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.folder import FolderDataset
from pdanet_tf.data.load import load_dataset
from pdanet_tf.data.readers import DataError, read_image, read_label
from pdanet_tf.data.stand_in import write_stand_in
from pdanet_tf.data.synthetic import SYNTHETIC_CLASSES, SyntheticDataset
from pdanet_tf.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.data.ade20k_builder import Ade20k
    from pdanet_tf.data.prepared import PreparedDataset

__all__ = [
    "ADE20K_CLASSES",
    "CAMVID_CLASSES",
    "DATASETS",
    "SYNTHETIC_CLASSES",
    "Ade20k",
    "Classes",
    "DataError",
    "FolderDataset",
    "PreparedDataset",
    "SegmentationDataset",
    "SyntheticDataset",
    "load_dataset",
    "read_image",
    "read_label",
    "write_stand_in",
]

# What needs TensorFlow Datasets is imported when it is used.
__getattr__ = lazy_attributes(
    __name__,
    {"Ade20k": "pdanet_tf.data.ade20k_builder", "PreparedDataset": "pdanet_tf.data.prepared"},
)
