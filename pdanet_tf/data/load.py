"""Data sets by name."""

from pdanet_tf.data.ade20k import ade20k
from pdanet_tf.data.camvid import camvid
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.folder import FolderDataset
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.synthetic import SyntheticDataset

DATASETS = ("ade20k", "camvid", "folder", "synthetic")


def load_dataset(
    name: str,
    split: str,
    data_dir: PathLike | None = None,
    *,
    num_classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    label_offset: int = 0,
    ignore_label: int | None = None,
) -> SegmentationDataset:
    """Opens one split of a data set.

    Args:
        name: "synthetic" (scenes drawn from a seed), "camvid" and "ade20k" (an extracted folder),
            or "folder" (any folder with `images/SPLIT` and `annotations/SPLIT`).
        split: "train" or "validation"; of a folder, the name of any folder below `images`.
        data_dir: The folder; of no use to "synthetic".
        num_classes: Number of classes of a "folder".
        class_names: Their names; by default "class 0" and so on. Either this or `num_classes` is
            needed for a "folder".
        label_offset: For a "folder": 1 where its annotations begin at 1.
        ignore_label: For a "folder": the number in its annotations that stands for no class;
            None takes 255 where that is no class.

    Raises:
        ValueError: If there is no such data set, or an argument is missing.
        DataError: If something is wrong with the folder.

    Example:
        ```python
        dataset = load_dataset("folder", "train", "my_data", class_names=("cat", "dog", "rest"))
        dataset.check()  # looks into every file
        image, label = dataset.read(0)
        ```
    """
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {DATASETS}. Received: {name!r}")
    given = {
        "num_classes": num_classes,
        "class_names": class_names,
        "label_offset": label_offset or None,
        "ignore_label": ignore_label,
    }
    strange = [key for key, value in given.items() if value is not None]
    if name != "folder" and strange:
        raise ValueError(
            f"The data set {name!r} has classes of its own; it takes no {', '.join(strange)}."
        )
    if name == "synthetic":
        return SyntheticDataset(split)
    if data_dir is None:
        raise ValueError(f"The data set {name!r} needs the folder it lies in: set data_dir.")
    if name == "camvid":
        return camvid(data_dir, split)
    if name == "ade20k":
        return ade20k(data_dir, split)
    classes = _folder_classes(num_classes, class_names)
    return FolderDataset(data_dir, split, classes, label_offset, ignore_label)


def _folder_classes(num_classes: int | None, names: tuple[str, ...] | None) -> Classes:
    if names:
        if num_classes not in (None, len(names)):
            raise ValueError(
                f"num_classes={num_classes} does not agree with the {len(names)} class_names"
            )
        return Classes.named(names)
    if num_classes is None:
        raise ValueError("The data set 'folder' needs num_classes or class_names.")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
    return Classes.numbered(num_classes)
