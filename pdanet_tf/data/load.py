"""Opens a split of a data set by the name of the data set."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from pdanet_tf.base.choices import DATASETS
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.class_table import CLASSES_FILE, read_class_table
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.sources.ade20k import ADE20K_CLASSES, ade20k
from pdanet_tf.data.sources.camvid import camvid
from pdanet_tf.data.sources.cityscapes import CityscapesDataset
from pdanet_tf.data.sources.folder import FolderDataset
from pdanet_tf.data.sources.synthetic import SyntheticDataset
from pdanet_tf.data.sources.voc import VocDataset


def load_dataset(
    name: str,
    split: str,
    data_dir: PathLike | None = None,
    *,
    image_pattern: str | None = None,
    annotation_pattern: str | None = None,
    split_lists: Mapping[str, PathLike] | None = None,
    num_classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    class_colors: Sequence[str | Sequence[int]] | None = None,
    label_offset: int = 0,
    ignore_label: int | Sequence[int] | None = None,
    strict: bool = True,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> SegmentationDataset:
    """Opens one split of a data set.

    Args:
        name: "synthetic" (scenes drawn from a seed), "camvid" (a folder, see
            `pdanet_tf.data.sources.camvid.camvid`), "ade20k" (an extracted folder, or the data set
            that `tfds.load("ade20k")` prepares), "cityscapes" (the folder with `leftImg8bit` and
            `gtFine`), "voc" (an extracted Pascal VOC), or "folder" (any folder with `images/SPLIT`
            and `annotations/SPLIT`, or with files that fit two patterns).
        split: "train" or "validation"; for a "folder" or "camvid", the name of any folder below
            `images`, such as "test"; or what `{split}` stands for in a pattern, or a key of
            `split_lists`.
        data_dir: The folder; not allowed for "synthetic". For "ade20k" either the extracted
            `ADEChallengeData2016`, or a folder of TensorFlow Datasets (None takes its default
            folder). If ADE20K is not yet prepared there, it is prepared from the
            `ADEChallengeData2016` or `ADEChallengeData2016.zip` in that folder; if there is
            neither, the archive is downloaded (967 MB).
        image_pattern: Where the images of a "folder" are, such as "{split}/img/{name}.jpg", see
            `FolderDataset`.
        annotation_pattern: Where its annotations are, such as "{split}/mask/{name}_mask.png".
        split_lists: For a "folder": a text file of image names for each split, see
            `FolderDataset`.
        num_classes: Number of classes of a "folder".
        class_names: Names of the classes of a "folder"; by default those of its `classes.csv`, see
            `pdanet_tf.data.class_table.parse_class_table`, or "class 0" and so on. A "folder"
            requires this, `num_classes` or `classes.csv`.
        class_colors: One colour per class of a "folder": `"#ff8000"`, `"255,128,0"`, or red,
            green and blue (0 to 255). By default those of `classes.csv`, or bright colours that are
            far apart.
        label_offset: For a "folder": the value of the first class in its annotations; by default
            the first label of `classes.csv`, or 0.
        ignore_label: For a "folder": the value, or the values, that mark unlabelled pixels in its
            annotations; None takes 255 unless that is a class.
        strict: Whether a file without a partner, or a missing split, raises an error; see
            `FolderDataset`.
        channels: Number of channels of the images of a "folder"; None for RGB with 8 bits, see
            `FolderDataset`.
        mean: Mean of each channel of a "folder", in the values of the files.
        std: Standard deviation of each channel of a "folder", in the values of the files.

    Raises:
        ValueError: If there is no such data set, or an argument is missing or not allowed for it.
        DataError: If the folder has a problem.
        OSError: If ADE20K cannot be downloaded, or the disk is full.

    Example:
        ```python
        dataset = load_dataset("folder", "train", "my_data", class_names=("cat", "dog", "rest"))
        dataset.check()  # opens every file
        image, label = dataset.read(0)
        ```
    """
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {DATASETS}. Received: {name!r}")
    given = {
        "image_pattern": image_pattern,
        "annotation_pattern": annotation_pattern,
        "split_lists": split_lists,
        "num_classes": num_classes,
        "class_names": class_names,
        "class_colors": class_colors,
        "label_offset": label_offset or None,
        "ignore_label": ignore_label,
        "channels": channels,
        "mean": mean,
        "std": std,
    }
    refused = [key for key, value in given.items() if value is not None]
    if name != "folder" and refused:
        raise ValueError(
            f"The data set {name!r} defines its own classes and images; it does not take "
            f"{', '.join(refused)}."
        )
    if name == "synthetic":
        if data_dir is not None:
            others = " or ".join(repr(other) for other in DATASETS if other != name)
            raise ValueError(
                f"The data set {name!r} is drawn from a seed and has no folder. Received: "
                f"data_dir={str(data_dir)!r}; set dataset={others} to read one"
            )
        return SyntheticDataset(split)
    if name == "ade20k":
        return _open_ade20k(split, data_dir, strict)
    if data_dir is None:
        raise ValueError(f"The data set {name!r} requires its folder: set data_dir.")
    if name == "camvid":
        return camvid(data_dir, split, strict=strict)
    if name == "cityscapes":
        return CityscapesDataset(data_dir, split, strict=strict)
    if name == "voc":
        return VocDataset(data_dir, split, strict=strict)
    if name == "folder":
        classes, label_offset = _folder_classes(data_dir, num_classes, class_names, label_offset)
        if class_colors is not None:
            classes = classes.with_colors(class_colors)
        return FolderDataset(
            data_dir,
            split,
            classes,
            label_offset,
            ignore_label,
            strict=strict,
            channels=channels,
            mean=mean,
            std=std,
            image_pattern=image_pattern,
            annotation_pattern=annotation_pattern,
            split_lists=split_lists,
        )
    raise NotImplementedError(
        f"The data set {name!r} is listed in pdanet_tf.base.choices.DATASETS, but load_dataset in "
        "pdanet_tf/data/load.py does not open it"
    )


def _open_ade20k(split: str, data_dir: PathLike | None, strict: bool) -> SegmentationDataset:
    if data_dir is not None:
        if not Path(data_dir).is_dir():
            raise DataError(
                f"{data_dir}: there is no such folder. Set data_dir to an extracted "
                "ADEChallengeData2016, or create the folder: then ADE20K is downloaded and "
                "prepared there"
            )
        if any((Path(data_dir) / kind).is_dir() for kind in ("images", "annotations")):
            return ade20k(data_dir, split, strict=strict)
    # Imported here, because folders are read without TensorFlow Datasets.
    import tensorflow_datasets as tfds

    from pdanet_tf.data.sources.ade20k_tfds import OFFICIAL, Ade20k, find_manual
    from pdanet_tf.data.sources.tfds_dataset import PreparedDataset

    if split not in OFFICIAL.counts:
        raise ValueError(
            f"split must be one of {tuple(OFFICIAL.counts)}. Received: split={split!r}"
        )
    builder = Ade20k(data_dir=data_dir)
    manual = data_dir if data_dir is not None and find_manual(data_dir) else None
    # Does nothing if the data set is already prepared.
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual))
    dataset = PreparedDataset(builder.data_dir, split, ADE20K_CLASSES, label_offset=1)
    if len(dataset) != OFFICIAL.counts[split]:
        warnings.warn(
            f"{builder.data_dir}: was prepared from a part of ADE20K: it contains {len(dataset):,} "
            f"of {OFFICIAL.counts[split]:,} images for {split}",
            stacklevel=3,
        )
    return dataset


def _folder_classes(
    data_dir: PathLike,
    num_classes: int | None,
    names: tuple[str, ...] | None,
    label_offset: int,
) -> tuple[Classes, int]:
    """Returns the classes of a folder, and the label of the first one."""
    if names:
        if num_classes not in (None, len(names)):
            raise ValueError(
                f"num_classes={num_classes} does not match class_names, which has "
                f"{quantity(len(names), 'name')}"
            )
        return Classes.named(names), label_offset
    file = Path(data_dir) / CLASSES_FILE
    if file.is_file():
        return _stored_classes(file, num_classes, label_offset)
    if num_classes is None:
        raise ValueError(
            "The data set 'folder' requires num_classes or class_names, unless it contains "
            f"{CLASSES_FILE}."
        )
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
    return Classes.numbered(num_classes), label_offset


def _stored_classes(file: Path, num_classes: int | None, label_offset: int) -> tuple[Classes, int]:
    classes, first = read_class_table(file)
    if num_classes not in (None, len(classes)):
        raise ValueError(
            f"num_classes={num_classes} does not match {file}, which has "
            f"{quantity(len(classes), 'class', 'classes')}. Leave num_classes out, or set "
            "class_names"
        )
    if label_offset not in (0, first):
        raise ValueError(
            f"label_offset={label_offset} does not match {file}, whose first label is {first}. "
            "Leave label_offset out, or set class_names"
        )
    return classes, first
