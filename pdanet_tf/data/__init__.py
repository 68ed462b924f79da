"""Data: images with label maps (`sources`), their validation, and batches for training.

`pdanet_tf.data.batches.pipeline` and writing ADE20K with `Ade20k` require TensorFlow; everything
else here does not.
"""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.importing.importer import ImportReport, import_labels
from pdanet_tf.data.load import load_dataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import read_image, read_label
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES
from pdanet_tf.data.sources.ade20k_stand_in import write_stand_in
from pdanet_tf.data.sources.camvid import CAMVID_CLASSES
from pdanet_tf.data.sources.cityscapes import CITYSCAPES_CLASSES, CityscapesDataset
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.sources.synthetic import SYNTHETIC_CLASSES, SyntheticDataset
from pdanet_tf.data.sources.voc import VOC_CLASSES, VocDataset

if TYPE_CHECKING:
    from pdanet_tf.data.sources.ade20k_tfds import Ade20k
    from pdanet_tf.data.sources.tfds_dataset import PreparedDataset

__all__ = [
    "ADE20K_CLASSES",
    "CAMVID_CLASSES",
    "CITYSCAPES_CLASSES",
    "SYNTHETIC_CLASSES",
    "VOC_CLASSES",
    "Ade20k",
    "CityscapesDataset",
    "Classes",
    "DataError",
    "FolderDataset",
    "ImportReport",
    "PreparedDataset",
    "SegmentationDataset",
    "SyntheticDataset",
    "VocDataset",
    "import_labels",
    "load_dataset",
    "read_image",
    "read_label",
    "write_stand_in",
]

# TensorFlow Datasets is imported only if one of these is used.
__getattr__ = lazy_attributes(
    __name__,
    {
        "Ade20k": "pdanet_tf.data.sources.ade20k_tfds",
        "PreparedDataset": "pdanet_tf.data.sources.tfds_dataset",
    },
)
