"""CamVid (Brostow et al. 2009) with its usual 11 classes, in a folder."""

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.folder import FolderDataset

CAMVID_CLASSES = Classes(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)


def camvid(root: PathLike, split: str, *, strict: bool = True) -> FolderDataset:
    """Opens an extracted CamVid: `images/` and `annotations/`, each with `train` and `val`.

    Its annotations contain the classes as 0 to 10, and 11 for void. For `strict` see
    `FolderDataset`.
    """
    return FolderDataset(root, split, CAMVID_CLASSES, ignore_label=11, strict=strict)
