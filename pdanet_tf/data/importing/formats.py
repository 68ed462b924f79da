"""The formats of annotations: their readers, and the options that each of them takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pdanet_tf.base.choices import LABEL_FORMATS, LABEL_OVERLAPS, UNLABELLED_AREAS, check_choice
from pdanet_tf.base.ignore_labels import ignored_values
from pdanet_tf.data.importing.coco import read_coco
from pdanet_tf.data.importing.cvat import read_cvat
from pdanet_tf.data.importing.labelme import read_labelme
from pdanet_tf.data.importing.masks import (
    read_binary,
    read_colors,
    read_indices,
    read_masks,
    read_voc,
)
from pdanet_tf.data.importing.source import Source
from pdanet_tf.data.importing.yolo import read_yolo
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import PathLike


@dataclass(frozen=True)
class FormatOptions:
    """Options that only some formats take; their defaults if they are not given.

    Attributes:
        images: Folder of the images.
        image_pattern: Pattern of the paths of images, see `find_files`.
        annotation_pattern: Pattern of the paths of annotations.
        color_table: File of colours and names.
        label_offset: The value of the first class in index images.
        ignore_label: Values of unlabelled pixels in index images.
        resize_masks: Whether annotations of another size are resized.
        unlabelled: What pixels of no shape are, "background" or "ignore".
        overlap: Order in which shapes are drawn, "larger-first" or "file-order".
        ignore_crowds: Whether crowds become unlabelled.
    """

    images: PathLike | None = None
    image_pattern: str | None = None
    annotation_pattern: str | None = None
    color_table: PathLike | None = None
    label_offset: int | None = None
    ignore_label: int | Sequence[int] | None = None
    resize_masks: bool = False
    unlabelled: str = "background"
    overlap: str | None = None
    ignore_crowds: bool = True

    def check(self, name: str) -> None:
        """Checks that a format takes the options that are given.

        Raises:
            ValueError: If it does not, there is no such format, or an option has a wrong value.
        """
        check_choice("format", name, LABEL_FORMATS)
        check_choice("unlabelled", self.unlabelled, UNLABELLED_AREAS)
        if self.overlap is not None:
            check_choice("overlap", self.overlap, LABEL_OVERLAPS)
        known = _FORMATS[name].options
        for field in fields(self):
            value = getattr(self, field.name)
            is_default = value is field.default or (
                isinstance(value, str) and value == field.default
            )
            if not is_default and field.name not in known:
                takes = ", ".join(known)
                raise ValueError(
                    f"The format {name!r} does not take {field.name}; it takes {takes}"
                )


def read_source(
    path: Path,
    name: str,
    options: FormatOptions,
    class_names: Sequence[str],
    ignore: Sequence[str] = (),
) -> Source:
    """Reads annotations.

    Args:
        path: The file or folder.
        name: The format, one of `LABEL_FORMATS`.
        options: Options of the format.
        class_names: Names of the classes; empty for those of the source.
        ignore: Names of classes that become unlabelled.

    Raises:
        ValueError: If an option is missing.
        DataError: If the annotations cannot be read as a whole.
    """
    wanted = _FORMATS[name].reads
    exists = {"file": path.is_file(), "folder": path.is_dir(), "both": path.exists()}[wanted]
    if not exists:
        what = "file or folder" if wanted == "both" else wanted
        text = f"is a {'folder' if path.is_dir() else 'file'}" if path.exists() else "is missing"
        advice = f"The format {name!r} reads a {what}"
        raise DataError(Problem(str(path), "wrong source", f"{text}, expected a {what}", advice))
    return _FORMATS[name].read(path, options, class_names, ignore)


def _coco(path: Path, options: FormatOptions, *_: Sequence[str]) -> Source:
    return read_coco(path, path.parent if options.images is None else Path(options.images))


def _cvat(path: Path, options: FormatOptions, *_: Sequence[str]) -> Source:
    exported = path.parent / "images"  # the folder of an export with images
    default = exported if exported.is_dir() else path.parent
    return read_cvat(path, default if options.images is None else Path(options.images))


def _labelme(path: Path, options: FormatOptions, *_: Sequence[str]) -> Source:
    return read_labelme(path, None if options.images is None else Path(options.images))


def _yolo(path: Path, options: FormatOptions, *_: Sequence[str]) -> Source:
    return read_yolo(path, options.image_pattern, options.annotation_pattern)


def _voc(path: Path, options: FormatOptions, names: Sequence[str], _: Sequence[str]) -> Source:
    patterns = _patterns(options, "JPEGImages/{name}.*", "SegmentationClass/{name}.png")
    return read_voc(path, patterns, names, options.resize_masks)


def _pairs(path: Path, options: FormatOptions, names: Sequence[str], _: Sequence[str]) -> Source:
    if not names:
        raise ValueError(
            "The format 'pairs' requires class_names, the names in order of the values"
        )
    ignored = (255,) if options.ignore_label is None else ignored_values(options.ignore_label)
    offset = options.label_offset or 0
    return read_indices(path, _patterns(options), names, offset, ignored, options.resize_masks)


def _colors(path: Path, options: FormatOptions, *_: Sequence[str]) -> Source:
    if options.color_table is None:
        raise ValueError("The format 'colors' requires color_table, a file of colours and names")
    table = Path(options.color_table)
    return read_colors(path, _patterns(options), table, options.resize_masks)


def _binary(path: Path, options: FormatOptions, names: Sequence[str], _: Sequence[str]) -> Source:
    if len(names) > 2:
        raise ValueError(
            "The format 'binary' has one class beside the background: class_names must be its "
            f"name, or the background's and its name. Received: {len(names)} names"
        )
    name = names[-1] if names else "foreground"
    background = names[0] if len(names) == 2 else None
    return read_binary(path, _patterns(options), name, background, options.resize_masks)


def _masks(
    path: Path, options: FormatOptions, names: Sequence[str], ignore: Sequence[str]
) -> Source:
    patterns = _patterns(options, annotations="masks/{class}/{name}.*")
    return read_masks(path, patterns, names, ignore, options.resize_masks)


def _patterns(
    options: FormatOptions,
    images: str = "images/{name}.*",
    annotations: str = "masks/{name}.*",
) -> tuple[str, str]:
    return options.image_pattern or images, options.annotation_pattern or annotations


@dataclass(frozen=True)
class _Format:
    reads: str  # "file", "folder" or "both"
    options: tuple[str, ...]
    read: Callable[[Path, FormatOptions, Sequence[str], Sequence[str]], Source]


_PATTERNS = ("image_pattern", "annotation_pattern")
_MASKS = (*_PATTERNS, "resize_masks")
_SHAPES = ("overlap", "ignore_crowds", "unlabelled")
_FORMATS = {
    "coco": _Format("file", ("images", *_SHAPES), _coco),
    "labelme": _Format("both", ("images", *_SHAPES), _labelme),
    "cvat": _Format("file", ("images", *_SHAPES), _cvat),
    "yolo": _Format("folder", (*_PATTERNS, *_SHAPES), _yolo),
    "voc": _Format("folder", _MASKS, _voc),
    "colors": _Format("folder", (*_MASKS, "color_table"), _colors),
    "binary": _Format("folder", (*_MASKS, "unlabelled"), _binary),
    "masks": _Format("folder", (*_MASKS, "unlabelled"), _masks),
    "pairs": _Format("folder", (*_MASKS, "label_offset", "ignore_label"), _pairs),
}
