"""ADE20K (Zhou et al. 2017): the scene parsing benchmark of 150 classes, in a folder."""

from importlib import resources

from pdanet_tf.data.class_table import parse_class_table
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.folder import FolderDataset


def _load_classes() -> Classes:
    text = (
        resources.files("pdanet_tf.data.sources").joinpath("ade20k_classes.csv").read_text("utf-8")
    )
    return parse_class_table(text)[0]


ADE20K_CLASSES = _load_classes()


def ade20k(root: PathLike, split: str, *, strict: bool = True) -> FolderDataset:
    """Opens an extracted `ADEChallengeData2016`, the benchmark with 150 classes.

    Its annotations contain 0 for "other", which is ignored, and the classes as 1 to 150. For
    `strict` see `FolderDataset`.
    """
    return FolderDataset(root, split, ADE20K_CLASSES, label_offset=1, strict=strict)
