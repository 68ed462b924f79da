"""Data sets in folders: `images/SPLIT` and `annotations/SPLIT`, paired by file name."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.ignore_labels import ignored_values, spell_ignore_label
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import Examination, examine_all, size_problem
from pdanet_tf.data.problems import DataError, Problem, printable, raise_if_any
from pdanet_tf.data.readers import (
    PathLike,
    image_mode,
    image_size,
    inspect_image,
    is_turned,
    read_label,
    read_picture,
)
from pdanet_tf.data.statistics import SplitStatistics, judge_split

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
# What data sets call the splits.
_SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val")}
_NAMES_SHOWN = 5
_SET_FOLDER = "Set data_dir to the folder that holds images and annotations"


class FolderDataset(SegmentationDataset):
    """Images in `root/images/SPLIT` with annotations in `root/annotations/SPLIT`.

    An image and its annotation have the same name up to the ending, in whatever Unicode form. An
    annotation has one channel with the number of the class; see `pdanet_tf.data.read_label`.

    Args:
        root: The folder.
        split: "train" (or a folder called "training"), "validation" (or "val"), or any other
            folder below `images` and `annotations`.
        classes: Names and colours.
        label_offset: What is subtracted from the numbers in the files: 1 where 0 stands for
            "no class" and the classes begin at 1. Numbers below the offset are ignored.
        ignore_label: The value, or a sequence of the values, that mark unlabelled pixels in the
            annotations; None takes 255 unless that is a class. In memory, such pixels have the
            label `void_label`.
        strict: Whether to raise if a folder is missing or empty, or an image and an annotation
            have no partner. If not, that is listed in `problems`, and the rest can be used.

    Raises:
        ValueError: If `label_offset` is negative, or `ignore_label` holds a negative value, a
            value twice or the value of a class.
        DataError: If there is no folder `root`; and see `strict`. `check` looks into the files
            themselves.
    """

    def __init__(
        self,
        root: PathLike,
        split: str,
        classes: Classes,
        label_offset: int = 0,
        ignore_label: int | Sequence[int] | None = None,
        *,
        strict: bool = True,
    ) -> None:
        super().__init__(classes)
        if label_offset < 0:
            raise ValueError(f"label_offset must be at least 0. Received: {label_offset}")
        numbers = range(label_offset, label_offset + len(classes))
        values = ignored_values(ignore_label)
        collisions = [str(value) for value in values if value in numbers]
        if collisions:
            raise ValueError(
                f"ignore_label must not contain a class. With label_offset={label_offset} the "
                f"classes have the values {numbers[0]} to {numbers[-1]}, which include "
                f"{', '.join(collisions)}. Received: {spell_ignore_label(values)}"
            )
        self.root = Path(root)
        self.split = split
        self.label_offset = label_offset
        self.ignore_label = ignore_label
        self._ignored = (255,) if ignore_label is None and 255 not in numbers else values
        self._numbers = numbers
        if not self.root.is_dir():
            raise DataError(
                Problem(
                    str(self.root),
                    "missing folder",
                    "there is no such folder",
                    _SET_FOLDER,
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
            `(height, width)`, int32, each a class from 0 or `void_label`.

        Raises:
            DataError: If the file cannot be read, or holds numbers that are no class.
        """
        raw = read_label(path)
        wrong = self._is_wrong(raw)
        if wrong.any():
            raise DataError(self._label_problem(path, np.unique(raw[wrong])))
        label = raw - self.label_offset
        label[(label < 0) | (label >= self.num_classes)] = self.void_label
        return label

    def _is_wrong(self, numbers: np.ndarray) -> np.ndarray:
        """Tells which numbers of the files stand neither for a class nor for none."""
        wrong = numbers >= self._numbers.stop
        for value in self._ignored:
            wrong &= numbers != value
        return wrong

    def _label_problem(self, path: PathLike, values: np.ndarray) -> Problem:
        shown = ", ".join(str(value) for value in values[:10]) + (
            ", ..." if len(values) > 10 else ""
        )
        start = self.label_offset + 1
        if values.tolist() == [255]:
            spelled = spell_ignore_label(tuple(sorted({*ignored_values(self.ignore_label), 255})))
            advice = f"255 mostly stands for no class: if it does, set {spelled}"
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
                "only 0 and 255",
                "the annotation holds 0 and 255 only, as a mask painted black and white does",
                "If 255 stands for a class, write its number instead",
                "warning",
            )

    def check(self) -> None:
        """Looks into every file, and raises if training would meet a problem.

        Raises:
            DataError: Lists the files that are truncated, differ in size from their annotation,
                are colour-coded, or hold labels that are no class; and says what is wrong with
                the split as a whole: one class only, nothing labelled, or 0 and 255 for 0 and 1.
        """
        problems: list[Problem] = []
        statistics = SplitStatistics.of(self)
        for found in examine_all(partial(self.examine, full=False), len(self)):
            problems += found.problems
            statistics.add(found)
        raise_if_any([*problems, *judge_split(self.split, self, statistics)])


def _pair_files(root: Path, split: str) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Returns images with their annotations, and what keeps others from having one."""
    problems: list[Problem] = []
    images = _list_files(root / "images", split, IMAGE_ENDINGS, problems)
    labels = _list_files(root / "annotations", split, _LABEL_ENDINGS, problems)
    if images.files and labels.files:
        for name in sorted(images.files.keys() - labels.files.keys()):
            problems.append(_without_partner(images.files[name], labels, "image", "annotation"))
        for name in sorted(labels.files.keys() - images.files.keys()):
            problems.append(_without_partner(labels.files[name], images, "annotation", "image"))
    both = sorted(images.files.keys() & labels.files.keys())
    return [(images.files[name], labels.files[name]) for name in both], problems


@dataclass
class _Listing:
    """What lies in one folder of a split.

    Attributes:
        files: The files that are read, by name.
        others: Files of other kinds, by name.
        folders: Names of sub-folders.
    """

    files: dict[str, Path] = field(default_factory=dict)
    others: dict[str, Path] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def describe_others(self) -> str:
        """Says what lies there and is not read; nothing where there is nothing."""
        kinds = Counter(path.suffix.lower() for path in self.others.values())
        parts = [
            quantity(count, f"{ending or 'other'} file") for ending, count in sorted(kinds.items())
        ]
        if self.folders:
            parts.insert(0, f"the sub-folder{'s' if len(self.folders) > 1 else ''} ")
            parts[0] += _shorten(self.folders)
        return ", ".join(parts)


def _shorten(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name(path: Path) -> str:
    """Returns the name that an image and its annotation have in common.

    macOS and others store "\u00e9" as two characters, so that names alike may differ in bytes.
    """
    return unicodedata.normalize("NFC", path.stem)


def _without_partner(path: Path, others: _Listing, what: str, partner: str) -> Problem:
    text, advice = f"has no {partner}", f"Add an {partner} of the same name, or take the {what} out"
    beside = others.others.get(_name(path))
    if beside is not None:
        text += f"; {beside.name} is not read as one"
        advice = f"Save the {partner} as PNG"
        if partner == "annotation" and beside.suffix.lower() in IMAGE_ENDINGS:
            advice += ", made again: JPEG and the like change the numbers of the classes"
    elif printable(path.stem) != path.stem:
        text += "; its name is not UTF-8, so that it may differ from one that looks the same"
        advice = "Rename the files in UTF-8, all in the same way"
    return Problem(str(path), f"{what} without {partner}", text, advice)


def _list_files(
    parent: Path, split: str, endings: tuple[str, ...], problems: list[Problem]
) -> _Listing:
    """Lists the files of a split; appends to `problems`."""
    names = _SPLIT_FOLDERS.get(split, (split,))
    folder = next((parent / name for name in names if (parent / name).is_dir()), None)
    if folder is None:
        problems.append(_missing_split(parent, split, f"Expected one called {' or '.join(names)}"))
        return _Listing()
    found = _Listing()
    for path, is_folder in _list(folder):
        name = _name(path)
        if is_folder:
            found.folders.append(path.name)
        elif path.suffix.lower() not in endings:
            found.others[name] = path
        elif name in found.files:
            problems.append(_same_name(path, found.files[name]))
        else:
            found.files[name] = path
    others = found.describe_others()
    if not found.files:
        problems.append(_empty_split(folder, endings, found, others))
    elif others:
        problems.append(
            Problem(
                str(folder),
                "not read",
                f"also holds {others}; nothing of this is read",
                f"Files are read from the folder itself, as {', '.join(endings)}",
                "warning" if found.folders else "note",
            )
        )
    return found


def _list(folder: Path) -> list[tuple[Path, bool]]:
    """Returns what lies in a folder and is not hidden, in order, and whether it is a folder."""
    with os.scandir(folder) as entries:  # which spares asking for each file
        return sorted(
            (Path(entry.path), entry.is_dir()) for entry in entries if entry.name[0] != "."
        )


def _missing_split(parent: Path, split: str, advice: str) -> Problem:
    text = f"there is no folder for the split {split!r}"
    nearest = parent if parent.is_dir() else parent.parent
    folders = [path.name for path, is_folder in _list(nearest) if is_folder]
    if nearest != parent:
        advice = f"Expected a folder called {parent.name}. {_SET_FOLDER}"
    if folders:
        text += f"; {nearest} holds the folder{'s' if len(folders) > 1 else ''} {_shorten(folders)}"
    return Problem(str(parent), "missing split", text, advice)


def _same_name(path: Path, first: Path) -> Problem:
    text = f"there is also {first.name}; which one is meant?"
    if path.stem != first.stem:
        text = f"there is also {first.name}, the same name in another Unicode form (NFC and NFD)"
    return Problem(str(path), "two files of one name", text, "Keep one of them")


def _empty_split(folder: Path, endings: tuple[str, ...], found: _Listing, others: str) -> Problem:
    kind = folder.parent.name
    text = f"holds no {kind} ({', '.join(endings)})"
    if not others:
        return Problem(str(folder), "empty split", text, _SET_FOLDER)
    text += f", but {others}"
    if found.folders:
        advice = f"Move the files out of the sub-folders, so that they lie in {folder.name} itself"
    else:
        advice = f"Save the {kind} as PNG"
        if any(path.suffix.lower() in IMAGE_ENDINGS for path in found.others.values()):
            advice += ", made again: JPEG and the like change the numbers of the classes"
    return Problem(str(folder), "empty split", text, advice)


def _is_complete_jpeg(path: Path) -> bool:
    """Tells whether a file is a JPEG with its end marker, which spares decoding it."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8":
                return False
            file.seek(-2, os.SEEK_END)
            return file.read(2) == b"\xff\xd9"
    except OSError:  # whoever decodes it will say why
        return False
