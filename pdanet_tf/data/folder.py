"""Data sets in folders: `images/SPLIT` and `annotations/SPLIT`, paired by file name."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import Examination, examine_all, size_problem
from pdanet_tf.data.problems import DataError, Problem, raise_if_any
from pdanet_tf.data.readers import (
    PathLike,
    image_mode,
    image_size,
    inspect_image,
    is_turned,
    read_label,
    read_picture,
)

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
# What data sets call the splits.
_SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val")}
# The kind of problem that is fatal where all annotations have it.
BLACK_AND_WHITE = "only 0 and 255"


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
        strict: Whether to raise if a folder is missing or empty, or an image and an annotation
            have no partner. If not, that is listed in `problems`, and the rest can be used.

    Raises:
        ValueError: If `label_offset` is negative, or `ignore_label` is the number of a class.
        DataError: If there is no folder `root`; and see `strict`. `check` looks into the files
            themselves.
    """

    def __init__(
        self,
        root: PathLike,
        split: str,
        classes: Classes,
        label_offset: int = 0,
        ignore_label: int | None = None,
        *,
        strict: bool = True,
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
        self._numbers = numbers
        if not self.root.is_dir():
            raise DataError(
                Problem(
                    str(self.root),
                    "missing folder",
                    "there is no such folder",
                    "Set data_dir to the folder that holds images and annotations",
                )
            )
        self._files, self.problems = _pair_files(self.root, split)
        if strict:
            raise_if_any(self.problems)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """Returns the name of an image, without folder and ending."""
        return self._files[index][0].stem

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image, from its file's header.

        Raises:
            DataError: If the file is missing or no image.
        """
        return image_size(self._files[index][0])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its labels; see `SegmentationDataset.read`.

        Raises:
            DataError: If the files cannot be read, differ in size, or hold a wrong label.
        """
        picture, label = self.read_picture(index)
        return np.asarray(picture), label

    def read_picture(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns an image as one of Pillow's, and its labels; errors are those of `read`."""
        image_path, label_path = self._files[index]
        picture = read_picture(image_path)
        label = self.read_label(label_path)
        size = (picture.height, picture.width)
        if size != label.shape:
            raise DataError(size_problem(str(image_path), size, label.shape, is_turned(image_path)))
        return picture, label

    def read_label(self, path: PathLike) -> np.ndarray:
        """Reads labels, or stored predictions, in the numbering of this data set's files.

        Returns:
            `(height, width)`, int32, each a class from 0 or `ignore_label`.

        Raises:
            DataError: If the file cannot be read, or holds numbers that are no class.
        """
        raw = read_label(path)
        wrong = self._is_wrong(raw)
        if wrong.any():
            raise DataError(self._label_problem(path, np.unique(raw[wrong])))
        label = raw - self.label_offset
        label[(label < 0) | (label >= self.num_classes)] = self.ignore_label
        return label

    def _is_wrong(self, numbers: np.ndarray) -> np.ndarray:
        """Tells which numbers of the files stand neither for a class nor for none."""
        wrong = numbers >= self._numbers.stop
        if self.raw_ignore_label is not None:
            wrong &= numbers != self.raw_ignore_label
        return wrong

    def _label_problem(self, path: PathLike, values: np.ndarray) -> Problem:
        shown = ", ".join(str(value) for value in values[:10]) + (
            ", ..." if len(values) > 10 else ""
        )
        start = self.label_offset + 1
        if values.tolist() == [255]:
            advice = "255 mostly stands for no class: if it does, set ignore_label=255"
        else:
            advice = (
                f"If the classes begin at {start}, set label_offset={start}; if a number stands "
                "for no class, set ignore_label"
            )
        return Problem(
            str(path),
            "labels out of range",
            f"holds the labels {shown}, but with num_classes={self.num_classes} and "
            f"label_offset={self.label_offset} the highest is {self._numbers[-1]}",
            advice,
        )

    def examine(self, index: int, full: bool = True) -> Examination:
        """Looks into an image and its annotation, and tells what is wrong with them.

        Args:
            index: Which one.
            full: Whether to decode images that do not look truncated, too, and to note what is
                merely unusual.
        """
        image_path, label_path = self._files[index]
        found = Examination(str(image_path))
        with found.collecting():
            if full:
                image, remarks = inspect_image(image_path)
                found.problems += remarks
                found.see_image(image)
            else:
                found.size = image_size(image_path)
                if not _is_complete_jpeg(image_path):
                    read_picture(image_path)
        with found.collecting():
            raw = read_label(label_path)
            if found.size is not None and found.size != raw.shape:
                found.problems.append(
                    size_problem(str(image_path), found.size, raw.shape, is_turned(image_path))
                )
            numbers = found.see_labels(raw, self._numbers, str(label_path))
            wrong = numbers[self._is_wrong(numbers)]
            if wrong.size:
                found.problems.append(self._label_problem(label_path, wrong))
            if full:
                found.problems += self._label_remarks(label_path, numbers.tolist())
        return found

    def _label_remarks(self, path: Path, numbers: list[int]) -> Iterator[Problem]:
        if image_mode(path) == "P":
            yield Problem(
                str(path),
                "palette annotation",
                "the annotation has a palette, whose indices are read as the classes",
                "Make sure that an index is the number of a class, whatever its colour is",
                "warning",
            )
        if numbers == [0, 255] and self.num_classes > 1 and 255 not in self._numbers:
            yield Problem(
                str(path),
                BLACK_AND_WHITE,
                "the annotation holds 0 and 255 only, as a mask painted black and white does",
                "If 255 stands for a class, write its number instead",
                "warning",
            )

    def check(self) -> None:
        """Looks into every file, and raises if training would meet a problem.

        Raises:
            DataError: Lists the files that are truncated, differ in size from their annotation,
                are colour-coded, or hold labels that are no class.
        """
        examinations = examine_all(partial(self.examine, full=False), len(self))
        raise_if_any(
            [
                problem
                for found in examinations
                for problem in found.problems
                if problem.severity == "fatal"
            ]
        )


def _pair_files(root: Path, split: str) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Returns images with their annotations, and what keeps others from having one."""
    problems: list[Problem] = []
    images = _list_files(root / "images", split, _IMAGE_ENDINGS, problems)
    labels = _list_files(root / "annotations", split, _LABEL_ENDINGS, problems)
    if images and labels:
        problems += [
            Problem(
                str(images[name]),
                "image without annotation",
                "has no annotation",
                "Add an annotation of the same name, or take the image out",
            )
            for name in sorted(images.keys() - labels.keys())
        ]
        problems += [
            Problem(
                str(labels[name]),
                "annotation without image",
                "has no image",
                "Add an image of the same name, or take the annotation out",
            )
            for name in sorted(labels.keys() - images.keys())
        ]
    both = sorted(images.keys() & labels.keys())
    return [(images[name], labels[name]) for name in both], problems


def _list_files(
    parent: Path, split: str, endings: tuple[str, ...], problems: list[Problem]
) -> dict[str, Path]:
    """Returns the files of a split by name; appends to `problems`."""
    names = _SPLIT_FOLDERS.get(split, (split,))
    folder = next((parent / name for name in names if (parent / name).is_dir()), None)
    if folder is None:
        problems.append(
            Problem(
                str(parent),
                "missing split",
                f"there is no folder for the split {split!r}",
                f"Expected one called {' or '.join(names)}",
            )
        )
        return {}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in endings and not path.name.startswith("."):
            if path.stem in files:
                problems.append(
                    Problem(
                        str(path),
                        "two files of one name",
                        f"there is also {files[path.stem].name}; which one is meant?",
                        "Keep one of them",
                    )
                )
            files.setdefault(path.stem, path)
    if not files:
        problems.append(
            Problem(
                str(folder),
                "empty split",
                f"holds no {parent.name} ({', '.join(endings)})",
                "Extract the data set again, or set data_dir to where it is",
            )
        )
    return files


def _is_complete_jpeg(path: Path) -> bool:
    """Tells whether a file is a JPEG with its end marker, which spares decoding it."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read(2) == b"\xff\xd9"
