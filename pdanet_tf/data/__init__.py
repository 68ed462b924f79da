"""Data: images with labels from folders or drawn from a seed, and batches of them.

`pdanet_tf.data.pipeline` needs TensorFlow; everything else here does not. Where TensorFlow is not
installed, `Ade20k` and `PreparedDataset` are left out.
"""

from importlib.util import find_spec

from pdanet_tf.data.ade20k import ADE20K_CLASSES
from pdanet_tf.data.camvid import CAMVID_CLASSES
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.folder import FolderDataset
from pdanet_tf.data.load import DATASETS, load_dataset
from pdanet_tf.data.readers import DataError, read_image, read_label
from pdanet_tf.data.stand_in import write_stand_in
from pdanet_tf.data.synthetic import SYNTHETIC_CLASSES, SyntheticDataset

__all__ = [
    "ADE20K_CLASSES",
    "CAMVID_CLASSES",
    "DATASETS",
    "SYNTHETIC_CLASSES",
    "Classes",
    "DataError",
    "FolderDataset",
    "SegmentationDataset",
    "SyntheticDataset",
    "load_dataset",
    "read_image",
    "read_label",
    "write_stand_in",
]

# Registers "ade20k" with TensorFlow Datasets, which is of no use without TensorFlow.
if find_spec("tensorflow") is not None:
    from pdanet_tf.data.ade20k_builder import Ade20k
    from pdanet_tf.data.prepared import PreparedDataset

    __all__ += ["Ade20k", "PreparedDataset"]
