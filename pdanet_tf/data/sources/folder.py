"""Data sets in folders: `images/SPLIT` and `annotations/SPLIT`, paired by file name."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.ignore_labels import ignored_values, spell_ignore_label
from pdanet_tf.base.pixel_format import RGB, PixelFormat, check_statistics
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.bands import BandImage, as_image
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError, Problem, printable, raise_if_any
from pdanet_tf.data.readers import (
    PathLike,
    image_mode,
    image_size,
    inspect_image,
    is_sideways,
    read_label,
    read_pil_image,
)
from pdanet_tf.data.sources.channel_files import ChannelFiles, are_rgb
from pdanet_tf.data.validation.image import ImageReport, size_problem
from pdanet_tf.data.validation.split import SplitStatistics, fatal_split_problems

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CHANNEL_ENDINGS = (*IMAGE_ENDINGS, ".npy")  # if the number of channels is given
_LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
# The folder names that data sets use for each split.
_SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val")}
_NAMES_SHOWN = 5
_CREATE_AGAIN = ", created again: lossy formats such as JPEG change the values of the classes"
# Other names that the folder of annotations often has.
_ANNOTATION_FOLDERS = ("annotation", "labels", "label", "masks", "mask", "gt", "segmentation")
_SET_CHANNELS = "Set channels, the number of channels of the images, so that .npy files are read"
_SET_FOLDER = "Set data_dir to the folder that contains images and annotations"


class FolderDataset(SegmentationDataset):
    """Images in `root/images/SPLIT` with annotations in `root/annotations/SPLIT`.

    An image and its annotation have the same name except for the extension; the Unicode form of
    the name does not matter. An annotation has one channel that contains the value of the class at
    every pixel; see `pdanet_tf.data.read_label`.

    Args:
        root: The folder.
        split: "train" (its folders may be called "training"), "validation" (or "val"), or the name
            of any other folder below `images` and `annotations`.
        classes: Names and colours.
        label_offset: The value of the first class in the annotations, which is subtracted: 1 if the
            classes begin at 1. Pixels of lower values are unlabelled.
        ignore_label: The value, or a sequence of the values, that mark unlabelled pixels in the
            annotations; None takes 255 unless that is a class. `read` gives such pixels the label
            `void_label`.
        strict: Whether to raise an error if a folder is missing or empty, or an image or an
            annotation has no partner. If False, `problems` lists this, and the complete pairs can
            be used.
        channels: Number of channels of the images; None for RGB with 8 bits, to which other images
            are converted. If it is given, .npy files are images, too, and an image is read in the
            values of its file, uint8, uint16 or float32, see
            `pdanet_tf.data.channel_images.read_channels`. All images must have the same type of
            values. 3 is the same as None unless there are .npy files, or the first image has
            channels of more than 8 bits.
        mean: Mean of each channel, in the values of the files, see `SegmentationDataset`.
        std: Standard deviation of each channel, likewise.

    Attributes:
        ignore_label: The argument as it was given.

    Raises:
        ValueError: If `label_offset` is negative, or `ignore_label` holds a negative value, a
            value twice or the value of a class; if `channels` is below 1, or `mean` or `std` has
            another number of values.
        DataError: If there is no folder `root`; and see `strict`. The files themselves are not
            opened until `check` or `read`.
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
        channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(classes)
        if channels is not None:
            PixelFormat(channels)  # raises if it is out of range
        self.channels = channels
        self.mean, self.std = check_statistics(mean, std, channels or 3)
        if label_offset < 0:
            raise ValueError(f"label_offset must be at least 0. Received: {label_offset}")
        class_values = range(label_offset, label_offset + len(classes))
        values = ignored_values(ignore_label)
        collisions = [str(value) for value in values if value in class_values]
        if collisions:
            raise ValueError(
                f"ignore_label must not contain a class. With label_offset={label_offset} the "
                f"classes have the values {class_values[0]} to {class_values[-1]}, which include "
                f"{', '.join(collisions)}. Received: {spell_ignore_label(values)}"
            )
        self.root = Path(root)
        self.split = split
        self.label_offset = label_offset
        self.ignore_label = ignore_label
        self._ignored = (255,) if ignore_label is None and 255 not in class_values else values
        self._class_values = class_values
        if not self.root.is_dir():
            raise DataError(
                Problem(
                    str(self.root),
                    "missing folder",
                    "there is no such folder",
                    _SET_FOLDER,
                )
            )
        endings = IMAGE_ENDINGS if channels is None else CHANNEL_ENDINGS
        self._files, self.problems = self._find_files(endings)
        if strict:
            raise_if_any(self.problems)

    def _find_files(
        self, endings: tuple[str, ...]
    ) -> tuple[list[tuple[Path, Path]], list[Problem]]:
        """Returns the pairs of image and annotation, and problems; for data sets of other layouts.

        Args:
            endings: Extensions of images.
        """
        return _pair_files(*self._places(), self.split, endings)

    def _places(self) -> tuple["Place", "Place"]:
        """Returns where the images and the annotations are; for data sets of other layouts."""
        return usual_places(self.root, self.split)

    def _read_values(self, path: PathLike) -> np.ndarray:
        """Returns the values of an annotation, from `label_offset`; for data sets of other values.

        Raises:
            DataError: If the file cannot be read.
        """
        return read_label(path)

    def __len__(self) -> int:
        return len(self._files)

    @cached_property
    def _channel_files(self) -> ChannelFiles | None:
        """The images, if they are not RGB with 8 bits."""
        paths = [image for image, _ in self._files]
        if self.channels is None or (self.channels == 3 and are_rgb(paths)):
            return None
        return ChannelFiles(paths, self.channels)

    @property
    def pixel_format(self) -> PixelFormat:
        """Number of channels, and type of the values of the first image that has them."""
        return RGB if self._channel_files is None else self._channel_files.pixel_format

    def name(self, index: int) -> str:
        """Returns the name of an image, without folder and extension."""
        return self._files[index][0].stem

    def size(self, index: int) -> tuple[int, int]:
        """Returns the (height, width) of an image, from its file's header.

        Raises:
            DataError: If the file is missing or not an image.
        """
        return self._image_size(self._files[index][0])

    def _image_size(self, path: Path) -> tuple[int, int]:
        return image_size(path) if self._channel_files is None else self._channel_files.size(path)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns an image and its label map; see `SegmentationDataset.read`.

        Raises:
            DataError: If the files cannot be read, differ in size, or contain a value out of range.
        """
        image, label = self._read_pair(index)
        return np.asarray(image), label

    def read_pil(self, index: int) -> tuple[Image.Image | BandImage, np.ndarray]:
        """Returns the same as `read`, but the image as a Pillow image, or with its methods."""
        image, label = self._read_pair(index)
        return (as_image(image) if isinstance(image, np.ndarray) else image), label

    def _read_pair(self, index: int) -> tuple[Image.Image | np.ndarray, np.ndarray]:
        image_path, label_path = self._files[index]
        image: Image.Image | np.ndarray
        if self._channel_files is None:
            image = read_pil_image(image_path)
            size = (image.height, image.width)
        else:
            image = self._channel_files.read(image_path)
            size = (image.shape[0], image.shape[1])
        label = self.read_label(label_path)
        if size != label.shape:
            raise DataError(
                size_problem(str(image_path), size, label.shape, self._is_sideways(image_path))
            )
        return image, label

    def _is_sideways(self, path: Path) -> bool:
        return self._channel_files is None and is_sideways(path)

    def read_label_map(self, index: int) -> np.ndarray:
        """Returns the label map alone; the image is not opened."""
        return self.read_label(self._files[index][1])

    def hash_annotation(self, index: int) -> bytes | None:
        """Returns a hash of the annotation's file, the classes and the ignored values."""
        mapping = f"{self._class_values} {self._ignored} {self.void_label} "
        try:
            content = self._files[index][1].read_bytes()
        except OSError:  # reading the label map raises an error that says more
            return None
        return hashlib.sha256(mapping.encode() + content).digest()

    def read_label(self, path: PathLike) -> np.ndarray:
        """Reads an annotation, or a stored prediction in the values of the annotations.

        Returns:
            `(height, width)`, int32, each a class from 0 or `void_label`.

        Raises:
            DataError: If the file cannot be read, or contains a value out of range.
        """
        raw = self._read_values(path)
        wrong = self._is_wrong(raw)
        if wrong.any():
            raise DataError(self._label_problem(path, np.unique(raw[wrong])))
        return self._to_labels(raw)

    def _to_labels(self, raw: np.ndarray) -> np.ndarray:
        label = raw - self.label_offset
        label[(label < 0) | (label >= self.num_classes)] = self.void_label
        return label

    def shown_annotation(self, path: Path) -> np.ndarray | None:
        """Returns a file of annotations for people to look at; see `SegmentationDataset`.

        Annotations are the files of the pairs, and files beside them that have no image.

        Raises:
            DataError: If the file is an annotation that cannot be read.
        """
        folders = self._label_folders
        return self._to_labels(self._read_values(path)) if path.parent in folders else None

    @cached_property
    def _label_folders(self) -> set[Path]:
        """The folders of annotations that contain no images."""
        return {path.parent for _, path in self._files} - {path.parent for path, _ in self._files}

    def _is_wrong(self, raw: np.ndarray) -> np.ndarray:
        """Returns where the values of a file mark neither a class nor unlabelled pixels."""
        wrong = raw >= self._class_values.stop
        for value in self._ignored:
            wrong &= raw != value
        return wrong

    def _label_problem(self, path: PathLike, values: np.ndarray) -> Problem:
        shown = ", ".join(str(value) for value in values[:10]) + (
            ", ..." if len(values) > 10 else ""
        )
        start = self.label_offset + 1
        if values.tolist() == [255]:
            spelled = spell_ignore_label(tuple(sorted({*ignored_values(self.ignore_label), 255})))
            advice = f"255 usually marks unlabelled pixels: if it does, set {spelled}"
        else:
            more = int(values.max()) - self.label_offset + 1
            advice = (
                f"If the classes begin at {start}, set label_offset={start}; if a value marks "
                "unlabelled pixels, add it to ignore_label"
            )
            if more <= 2 * self.num_classes:  # others are hardly classes
                advice = f"If there are {more} classes, set num_classes={more}. {advice}"
        return Problem(
            str(path),
            "labels out of range",
            f"contains the labels {shown}, but with num_classes={self.num_classes} and "
            f"label_offset={self.label_offset} the highest is {self._class_values[-1]}",
            advice,
        )

    def examine(self, index: int, full: bool = True) -> ImageReport:
        """Reads an image and its annotation, and returns their properties and problems.

        Args:
            index: Index of the image.
            full: Whether to decode every image and to report unusual properties. If False, a JPEG
                with its end marker is not decoded, unless `channels` is given.
        """
        image_path, label_path = self._files[index]
        report = ImageReport(str(image_path))
        with report.collecting_errors():
            if self._channel_files is not None:
                pixels = self._channel_files.read(image_path)
                report.size = (pixels.shape[0], pixels.shape[1])
                if full:
                    report.add_image(pixels)
            elif full:
                image, warnings = inspect_image(image_path)
                report.problems += warnings
                report.add_image(image)
            else:
                report.size = image_size(image_path)
                if not _is_complete_jpeg(image_path):
                    read_pil_image(image_path)
        with report.collecting_errors():
            raw = self._read_values(label_path)
            if report.size is not None and report.size != raw.shape:
                report.problems.append(
                    size_problem(
                        str(image_path), report.size, raw.shape, self._is_sideways(image_path)
                    )
                )
            values = report.add_label_map(raw, self._class_values, str(label_path))
            wrong = values[self._is_wrong(values)]
            if wrong.size:
                report.problems.append(self._label_problem(label_path, wrong))
            if full:
                report.problems += self._annotation_warnings(label_path, values.tolist())
        return report

    def _annotation_warnings(self, path: Path, values: list[int]) -> Iterator[Problem]:
        if image_mode(path) == "P":
            yield Problem(
                str(path),
                "palette annotation",
                "the annotation has a palette, whose indices are read as the classes",
                "Make sure that every index is the value of a class; the colours are not read",
                "warning",
            )
        if values == [0, 255] and self.num_classes > 1 and 255 not in self._class_values:
            yield Problem(
                str(path),
                "only 0 and 255",
                "the annotation contains only 0 and 255, like a mask painted in black and white",
                "If 255 stands for a class, replace it by the value of the class",
                "warning",
            )

    def check(self) -> None:
        """Opens every file, and raises if training would run into a problem.

        Raises:
            DataError: Lists the files that are truncated, differ in size from their annotation,
                are colour-coded, or contain values out of range; and says what is wrong with the
                split as a whole: only one class, nothing labelled, or 0 and 255 for 0 and 1.
        """
        problems: list[Problem] = []
        statistics = SplitStatistics.for_dataset(self)
        for report in map_in_threads(partial(self.examine, full=False), len(self)):
            problems += report.problems
            statistics.add(report)
        raise_if_any([*problems, *fatal_split_problems(self.split, self, statistics)])


def split_folders(split: str) -> tuple[str, ...]:
    """Returns the names that the folder of a split can have."""
    return _SPLIT_FOLDERS.get(split, (split,))


@dataclass(frozen=True)
class Place:
    """Where the images of a split are, or its annotations.

    Attributes:
        kind: "images" or "annotations".
        parent: The folder that contains the folder of the split.
        names: The names that this can have.
    """

    kind: str
    parent: Path
    names: tuple[str, ...]


def usual_places(root: Path, split: str) -> tuple[Place, Place]:
    """Returns the places of the images and the annotations in the layout of `FolderDataset`."""
    names = split_folders(split)
    images, annotations = (root / kind for kind in ("images", "annotations"))
    return Place("images", images, names), Place("annotations", annotations, names)


def _pair_files(
    image_place: Place, label_place: Place, split: str, endings: tuple[str, ...]
) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Returns the pairs of image and annotation, and the problems of all other files."""
    problems: list[Problem] = []
    images = _list_files(image_place, split, endings, problems)
    labels = _list_files(label_place, split, _LABEL_ENDINGS, problems)
    ending = _common_ending(images.files, labels.files)
    if ending is not None:
        problems.append(_other_names(label_place.parent, images, labels, ending))
    elif images.files and labels.files:
        for name in sorted(images.files.keys() - labels.files.keys()):
            problems.append(_without_partner(images.files[name], labels, "image", "annotation"))
        for name in sorted(labels.files.keys() - images.files.keys()):
            problems.append(_without_partner(labels.files[name], images, "annotation", "image"))
    both = sorted(images.files.keys() & labels.files.keys())
    return [(images.files[name], labels.files[name]) for name in both], problems


@dataclass
class _Listing:
    """The content of one folder of a split.

    Attributes:
        files: The files that are read, by name.
        unread: Files of other formats, by name.
        folders: Names of sub-folders.
    """

    files: dict[str, Path] = field(default_factory=dict)
    unread: dict[str, Path] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def describe_unread(self) -> str:
        """Describes the files and sub-folders that are not read; "" if there are none."""
        kinds = Counter(path.suffix.lower() for path in self.unread.values())
        parts = [
            quantity(count, f"{ending or 'other'} file") for ending, count in sorted(kinds.items())
        ]
        if self.folders:
            parts.insert(0, f"the sub-folder{'s' if len(self.folders) > 1 else ''} ")
            parts[0] += _shorten(self.folders)
        return ", ".join(parts)


def _common_ending(images: dict[str, Path], labels: dict[str, Path]) -> str | None:
    """Returns what every annotation's name has behind that of its image, such as "_mask"."""
    if not images or not labels or images.keys() & labels.keys():
        return None
    first = min(labels)
    start = max((name for name in images if first.startswith(name)), key=len, default=first)
    ending = first.removeprefix(start)
    return ending if ending and labels.keys() == {f"{name}{ending}" for name in images} else None


def _other_names(parent: Path, images: _Listing, labels: _Listing, ending: str) -> Problem:
    example = labels.files[min(labels.files)]
    return Problem(
        str(example.parent),
        "annotations with other names",
        f"the names of all annotations end in {ending!r}, as in {example.name}, and those of the "
        f"images do not, as in {images.files[min(images.files)].name}",
        f"Rename the annotations, or import them: pdanet-tf import-labels {parent.parent} --format "
        f"pairs --image-pattern 'images/{{split}}/{{name}}.*' --annotation-pattern "
        f"'{parent.name}/{{split}}/{{name}}{ending}{example.suffix}'",
    )


def _shorten(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name(path: Path) -> str:
    """Returns the name that an image and its annotation share.

    macOS and others store "\u00e9" as two characters, so names that look the same can differ.
    """
    return unicodedata.normalize("NFC", path.stem)


def _without_partner(path: Path, partners: _Listing, what: str, partner: str) -> Problem:
    text, advice = f"has no {partner}", f"Add an {partner} of the same name, or remove the {what}"
    unread = partners.unread.get(_name(path))
    if unread is not None:
        text += f"; {unread.name} is not read as one"
        advice = f"Save the {partner} as PNG"
        if partner == "annotation" and unread.suffix.lower() in IMAGE_ENDINGS:
            advice += _CREATE_AGAIN
        elif partner == "image" and unread.suffix.lower() == ".npy":
            advice = _SET_CHANNELS
    elif printable(path.stem) != path.stem:
        text += "; its name is not UTF-8, so it may differ from a name that looks the same"
        advice = "Rename all files to UTF-8"
    return Problem(str(path), f"{what} without {partner}", text, advice)


def _list_files(
    place: Place, split: str, endings: tuple[str, ...], problems: list[Problem]
) -> _Listing:
    """Lists one folder of a split, and appends its problems to `problems`."""
    parent, names = place.parent, place.names
    folder = next((parent / name for name in names if (parent / name).is_dir()), None)
    if folder is None:
        problems.append(
            _missing_split(parent, split, f"Expected a folder called {' or '.join(names)}")
        )
        return _Listing()
    found = _Listing()
    for path, is_folder in _list(folder):
        name = _name(path)
        if is_folder:
            found.folders.append(path.name)
        elif path.suffix.lower() not in endings:
            found.unread[name] = path
        elif name in found.files:
            problems.append(_same_name(path, found.files[name]))
        else:
            found.files[name] = path
    unread = found.describe_unread()
    if not found.files:
        problems.append(_empty_split(folder, place.kind, endings, found, unread))
    elif unread:
        problems.append(
            Problem(
                str(folder),
                "not read",
                f"also contains {unread}; none of this is read",
                f"Only the files {', '.join(f'*{ending}' for ending in endings)} in the folder "
                "itself are read",
                "warning" if found.folders else "note",
            )
        )
    return found


def _list(folder: Path) -> list[tuple[Path, bool]]:
    """Returns the sorted entries of a folder that are not hidden, and if each is a folder."""
    with os.scandir(folder) as entries:  # needs no system call per file
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
        text += (
            f"; {nearest} contains the folder{'s' if len(folders) > 1 else ''} {_shorten(folders)}"
        )
        likely = [name for name in folders if name.lower() in _ANNOTATION_FOLDERS]
        if nearest != parent and parent.name == "annotations" and len(likely) == 1:
            advice = f"If {likely[0]} contains the annotations, rename it to annotations"
        elif split == "validation" and nearest == parent:
            advice += ". Move some of the pairs there, which are then not trained on"
    elif nearest == parent:
        count = sum(not is_folder for _, is_folder in _list(parent))
        if count:
            text += f"; {quantity(count, 'file')} {'lies' if count == 1 else 'lie'} in {parent}"
            advice += f". Move files to {parent / split}"
    return Problem(str(parent), "missing split", text, advice)


def _same_name(path: Path, first: Path) -> Problem:
    text = f"there is also {first.name}; only one file may have this name"
    if path.stem != first.stem:
        text = f"there is also {first.name}, the same name in another Unicode form (NFC or NFD)"
    return Problem(str(path), "two files of one name", text, "Keep one of them")


def _empty_split(
    folder: Path, kind: str, endings: tuple[str, ...], found: _Listing, unread: str
) -> Problem:
    text = f"contains no {kind} ({', '.join(endings)})"
    if not unread:
        return Problem(str(folder), "empty split", text, _SET_FOLDER)
    text += f", but {unread}"
    if found.folders:
        advice = f"Move the files from the sub-folders to {folder.name} itself"
    else:
        advice = f"Save the {kind} as PNG"
        if kind == "images" and any(
            path.suffix.lower() == ".npy" for path in found.unread.values()
        ):
            advice = _SET_CHANNELS
        elif any(path.suffix.lower() in IMAGE_ENDINGS for path in found.unread.values()):
            advice += _CREATE_AGAIN
    return Problem(str(folder), "empty split", text, advice)


def _is_complete_jpeg(path: Path) -> bool:
    """Returns True if a file is a JPEG with its end marker, which need not be decoded."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8":
                return False
            file.seek(-2, os.SEEK_END)
            return file.read(2) == b"\xff\xd9"
    except OSError:  # decoding the file will raise the proper error
        return False
