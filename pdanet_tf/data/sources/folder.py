"""Data sets in folders: `images/SPLIT` and `annotations/SPLIT`, paired by file name."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.pixel_format import RGB, PixelFormat, check_statistics
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.bands import BandImage, as_image
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.endings import CHANNEL_ENDINGS, IMAGE_ENDINGS
from pdanet_tf.data.problems import DataError, Problem, raise_if_any
from pdanet_tf.data.readers import (
    PathLike,
    image_size,
    inspect_image,
    is_sideways,
    read_label,
    read_pil_image,
)
from pdanet_tf.data.sources.channel_files import ChannelFiles, are_rgb
from pdanet_tf.data.sources.label_values import LabelValues
from pdanet_tf.data.sources.pairing import SET_FOLDER, Place, pair_files, usual_places
from pdanet_tf.data.sources.pattern_pairs import FilePatterns
from pdanet_tf.data.validation.image import ImageReport, size_problem
from pdanet_tf.data.validation.split import SplitStatistics, fatal_split_problems


class FolderDataset(SegmentationDataset):
    """Images in `root/images/SPLIT` with annotations in `root/annotations/SPLIT`; or by patterns.

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
        image_pattern: Where the images are, if the layout is another one: a path relative to
            `root`, such as "{split}/img/{name}.jpg". `{name}` stands for what an image and its
            annotation have in common, and may contain slashes; `{split}` for the split, where "val"
            and "valid" are "validation"; `*` for anything within one name. None is
            "images/{split}/{name}.*".
        annotation_pattern: Where the annotations are, such as "{split}/mask/{name}_mask.png"; None
            is "annotations/{split}/{name}.*".
        split_lists: A text file for each split, relative to `root`, with one image a line: its
            name, the end of its path, or a longer path that ends with its name. The patterns then
            contain no `{split}`, and are "images/{name}.*" and "annotations/{name}.*" by default.

    Attributes:
        ignore_label: The argument as it was given.

    Raises:
        ValueError: If a pattern has another field or lacks `{name}`, or patterns and lists do not
            tell the split, or both do; if `label_offset` is negative, or `ignore_label` holds a
            negative value, a value twice or the value of a class; if `channels` is below 1, or
            `mean` or `std` has another number of values.
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
        image_pattern: str | None = None,
        annotation_pattern: str | None = None,
        split_lists: Mapping[str, PathLike] | None = None,
    ) -> None:
        super().__init__(classes)
        if channels is not None:
            PixelFormat(channels)  # raises if it is out of range
        self.channels = channels
        self.mean, self.std = check_statistics(mean, std, channels or 3)
        self._values = LabelValues(self.num_classes, label_offset, ignore_label, self.void_label)
        self.root = Path(root)
        self.split = split
        self.label_offset = label_offset
        self.ignore_label = ignore_label
        if not self.root.is_dir():
            raise DataError(
                Problem(
                    str(self.root),
                    "missing folder",
                    "there is no such folder",
                    SET_FOLDER,
                )
            )
        self._patterns: FilePatterns | None = None
        if image_pattern is not None or annotation_pattern is not None or split_lists is not None:
            self._patterns = FilePatterns(image_pattern, annotation_pattern, split_lists)
        self._names: dict[Path, str] = {}  # of images whose name is not that of their file
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
        if self._patterns is None:
            return pair_files(*self._places(), self.split, endings)
        found = self._patterns.find(self.root, self.split, endings)
        self._names = found.names
        return found.files, found.problems

    def _places(self) -> tuple[Place, Place]:
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
        """Returns the name of an image, without folder and extension.

        With patterns it is `{name}`, with underscores for slashes.
        """
        path = self._files[index][0]
        return self._names.get(path, path.stem)

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
        mapping = f"{self._values.classes} {self._values.ignored} {self.void_label} "
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
        wrong = self._values.is_wrong(raw)
        if wrong.any():
            raise DataError(self._values.problem(path, np.unique(raw[wrong])))
        return self._values.to_labels(raw)

    def shown_annotation(self, path: Path) -> np.ndarray | None:
        """Returns a file of annotations for people to look at; see `SegmentationDataset`.

        Annotations are the files of the pairs, and files beside them that have no image.

        Raises:
            DataError: If the file is an annotation that cannot be read.
        """
        files, folders = self._label_files
        is_annotation = path in files or path.parent in folders
        return self._values.to_labels(self._read_values(path)) if is_annotation else None

    @cached_property
    def _label_files(self) -> tuple[set[Path], set[Path]]:
        """The annotations, and their folders that contain no images."""
        files = {path for _, path in self._files}
        return files, {path.parent for path in files} - {path.parent for path, _ in self._files}

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
            values = report.add_label_map(raw, self._values.classes, str(label_path))
            wrong = values[self._values.is_wrong(values)]
            if wrong.size:
                report.problems.append(self._values.problem(label_path, wrong))
            if full:
                report.problems += self._values.warnings(label_path, values.tolist())
        return report

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
