"""CamVid (Brostow et al. 2009) with its usual 11 classes, in a folder."""

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.sources.pairing import Place, split_folders, usual_places

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


class CamVid(FolderDataset):
    """CamVid in a folder, in one of two layouts; see `camvid`."""

    def _places(self) -> tuple[Place, Place]:
        if (self.root / "images").is_dir() or not any(self.root.glob("*annot")):
            return usual_places(self.root, self.split)
        names = split_folders(self.split)
        annotations = tuple(f"{name}annot" for name in names)
        return Place("images", self.root, names), Place("annotations", self.root, annotations)


def camvid(root: PathLike, split: str, *, strict: bool = True) -> FolderDataset:
    """Opens an extracted CamVid.

    The folder contains `images/` and `annotations/`, each with `train` and `val`, and `test` for
    whoever has it; or, as in the SegNet tutorial, `train`, `trainannot`, `val`, `valannot`, `test`
    and `testannot`. The annotations contain the classes as 0 to 10, and 11 for void.

    Args:
        root: The folder.
        split: "train", "validation" or "test".
        strict: See `FolderDataset`.
    """
    return CamVid(root, split, CAMVID_CLASSES, ignore_label=11, strict=strict)
