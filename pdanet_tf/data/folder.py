"""Data sets in folders: `images/SPLIT` and `annotations/SPLIT`, paired by file name."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.readers import (
    DataError,
    PathLike,
    image_size,
    is_turned,
    read_image,
    read_label,
)

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
# What data sets call the splits.
_SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val")}
_MOST_PROBLEMS_SHOWN = 20


class FolderDataset(SegmentationDataset):
    """Images in `root/images/SPLIT` with annotations in `root/annotations/SPLIT`.

    An image and its annotation have the same name up to the ending. An annotation has one
    channel with the number of the class, 8 or 16 bits.

    Args:
        root: The folder.
        split: "train" (or a folder called "training"), "validation" (or "val"), or any other
            folder below `images` and `annotations`.
        classes: Names and colours.
        label_offset: What is subtracted from the numbers in the files: 1 where 0 stands for
            "no class" and the classes begin at 1. Numbers below the offset are ignored.
        ignore_label: A number in the files that stands for "no class"; None takes 255 where
            that is no class.

    Raises:
        ValueError: If `label_offset` is negative, or `ignore_label` is the number of a class.
        DataError: If a folder is missing or empty, or an image and an annotation have no
            partner. `check` looks into the files themselves.
    """

    def __init__(
        self,
        root: PathLike,
        split: str,
        classes: Classes,
        label_offset: int = 0,
        ignore_label: int | None = None,
    ) -> None:
        super().__init__(classes)
        if label_offset < 0:
            raise ValueError(f"label_offset must be at least 0. Received: {label_offset}")
        numbers = range(label_offset, label_offset + len(classes))
        if ignore_label is None:
            ignore_label = None if 255 in numbers else 255
        elif ignore_label in numbers:
            raise ValueError(
                f"ignore_label={ignore_label} is the number of a class: with label_offset="
                f"{label_offset} the classes go from {numbers[0]} to {numbers[-1]}"
            )
        self.root = Path(root)
        self.label_offset = label_offset
        self.raw_ignore_label = ignore_label
        if not self.root.is_dir():
            raise DataError(f"{self.root}: there is no such folder")
        images = _list_files(self._split_folder("images", split), _IMAGE_ENDINGS, "images")
        labels = _list_files(
            self._split_folder("annotations", split), _LABEL_ENDINGS, "annotations"
        )
        problems = [f"{images[name]}: has no annotation" for name in images.keys() - labels.keys()]
        problems += [f"{labels[name]}: has no image" for name in labels.keys() - images.keys()]
        _raise_if_any(problems)
        self._files = [(images[name], labels[name]) for name in sorted(images)]

    def _split_folder(self, kind: str, split: str) -> Path:
        names = _SPLIT_FOLDERS.get(split, (split,))
        for name in names:
            folder = self.root / kind / name
            if folder.is_dir():
                return folder
        raise DataError(
            f"{self.root / kind}: there is no folder for the split {split!r}; "
            f"expected one called {' or '.join(names)}"
        )

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """Returns the name of an image, without folder and ending."""
        return self._files[index][0].stem

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its labels; see `SegmentationDataset.read`.

        Raises:
            DataError: If the files cannot be read, differ in size, or hold a wrong label.
        """
        image_path, label_path = self._files[index]
        image = read_image(image_path)
        label = self.read_label(label_path)
        if image.shape[:2] != label.shape:
            raise DataError(_size_problem(image_path, image.shape[:2], label.shape))
        return image, label

    def read_label(self, path: PathLike) -> np.ndarray:
        """Reads labels, or stored predictions, in the numbering of this data set's files.

        Returns:
            `(height, width)`, int32, each a class from 0 or `ignore_label`.

        Raises:
            DataError: If the file cannot be read, or holds numbers that are no class.
        """
        raw = read_label(path)
        label = raw - self.label_offset
        ignored = label < 0
        if self.raw_ignore_label is not None:
            ignored |= raw == self.raw_ignore_label
        wrong = (label >= self.num_classes) & ~ignored
        if wrong.any():
            raise DataError(self._label_problem(path, np.unique(raw[wrong])))
        label[ignored] = self.ignore_label
        return label

    def _label_problem(self, path: PathLike, values: np.ndarray) -> str:
        highest = self.num_classes - 1 + self.label_offset
        shown = ", ".join(str(value) for value in values[:10]) + (
            ", ..." if len(values) > 10 else ""
        )
        start = self.label_offset + 1
        return (
            f"{path}: holds the labels {shown}, but with num_classes={self.num_classes} and "
            f"label_offset={self.label_offset} the highest is {highest}. If the classes begin at "
            f"{start}, set label_offset={start}; if a number stands for no class, set ignore_label"
        )

    def check(self) -> None:
        """Looks into every file, and raises if training would meet a problem.

        Raises:
            DataError: Lists the files that are truncated, differ in size from their annotation,
                are colour-coded, or hold labels that are no class.
        """
        # Decoding happens outside Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            _raise_if_any([problem for problem in pool.map(self._problem, self._files) if problem])

    def _problem(self, files: tuple[Path, Path]) -> str | None:
        image_path, label_path = files
        try:
            size = image_size(image_path)
            if not _is_complete_jpeg(image_path):
                read_image(image_path)
            label = self.read_label(label_path)
            if size != label.shape:
                return _size_problem(image_path, size, label.shape)
        except DataError as error:
            return str(error)
        return None


def _list_files(folder: Path, endings: tuple[str, ...], kind: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in endings and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(
                    f"{path}: there is also {files[path.stem].name}; which one is meant?"
                )
            files[path.stem] = path
    if not files:
        raise DataError(f"{folder}: holds no {kind} ({', '.join(endings)})")
    return files


def _is_complete_jpeg(path: Path) -> bool:
    """Tells whether a file is a JPEG with its end marker, which spares decoding it."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read(2) == b"\xff\xd9"


def _size_problem(path: Path, size: tuple[int, ...], label_size: tuple[int, ...]) -> str:
    problem = (
        f"{path}: the image is {size[0]} x {size[1]} (height x width), its annotation "
        f"{label_size[0]} x {label_size[1]}"
    )
    if size == label_size[::-1] and is_turned(path):
        problem += "; the image is stored turned (EXIF orientation): save it upright"
    return problem


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        problems = sorted(problems)
        more = len(problems) - _MOST_PROBLEMS_SHOWN
        shown = problems[:_MOST_PROBLEMS_SHOWN] + ([f"... and {more} more"] if more > 0 else [])
        raise DataError("\n".join(shown))
