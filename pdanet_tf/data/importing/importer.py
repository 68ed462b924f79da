"""Imports annotations of labelling tools as a data set in a folder."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdanet_tf.base.fields import shorten
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.class_table import CLASSES_FILE, write_class_table
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.importing.class_values import decide_classes
from pdanet_tf.data.importing.formats import FormatOptions, read_source
from pdanet_tf.data.importing.render import Rendering
from pdanet_tf.data.importing.source import Source, SourceImage
from pdanet_tf.data.importing.splits import Splitting
from pdanet_tf.data.importing.writer import check_images, draw_all, place, remove_stage
from pdanet_tf.data.load import load_dataset
from pdanet_tf.data.problems import DataError, Problem, group_problems, list_group, raise_if_any
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.validation.report import ValidationReport, validate_dataset
from pdanet_tf.files import whole_folder


@dataclass(frozen=True)
class ImportReport:
    """What was imported.

    Attributes:
        folder: The new folder.
        classes: The classes.
        images: Number of images of each split.
        left_out: Number of images that are in no list of a split.
        empty: Number of images without a shape.
        warnings: Warnings and notes; with `skip_bad`, also the records that were left out.
        validation: What `validate_dataset` says of the new folder.
    """

    folder: Path
    classes: Classes
    images: dict[str, int]
    left_out: int
    empty: int
    warnings: tuple[Problem, ...]
    validation: ValidationReport

    def summary(self) -> str:
        """Returns the warnings, grouped by kind, and the numbers of images and classes."""
        lines = []
        for group in group_problems(self.warnings):
            lines.append(f"{group[0].severity}: {group[0].kind} ({len(group)})")
            lines += list_group(group)
        counts = ", ".join(f"{count} {split}" for split, count in self.images.items())
        classes = quantity(len(self.classes), "class", "classes")
        lines.append(f"Imported to {self.folder}: {counts}; {classes}.")
        if self.empty:
            lines.append(f"Without a shape: {quantity(self.empty, 'image')}.")
        if self.left_out:
            lines.append(f"In no list, so left out: {quantity(self.left_out, 'image')}.")
        return "\n".join(lines)


def import_labels(
    source: PathLike | Mapping[str, PathLike],
    output: PathLike,
    format: str,
    *,
    images: PathLike | None = None,
    image_pattern: str | None = None,
    annotation_pattern: str | None = None,
    color_table: PathLike | None = None,
    label_offset: int | None = None,
    ignore_label: int | Sequence[int] | None = None,
    resize_masks: bool = False,
    class_names: Sequence[str] | None = None,
    class_colors: Sequence[str | Sequence[int]] | None = None,
    ignore: Sequence[str] = ("__ignore__",),
    unlabelled: str = "background",
    overlap: str | None = None,
    ignore_crowds: bool = True,
    split_lists: Mapping[str, PathLike] | None = None,
    validation_share: float = 0.2,
    group_pattern: str | None = None,
    seed: int = 0,
    link: bool = False,
    skip_bad: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Reads annotations of a labelling tool, and writes them as a data set "folder".

    The new folder has `images/SPLIT`, `annotations/SPLIT` (PNGs of 8 bits: classes from 0, and 255
    for unlabelled pixels) and `classes.csv`. It is written whole or not at all. A pixel belongs to
    a shape if its centre does. docs/labels.md explains each format.

    Args:
        source: The file or folder; or one for each split, such as
            `{"train": "train.json", "validation": "val.json"}`.
        output: The new folder.
        format: "coco", "labelme", "cvat", "yolo", "voc" (palette PNGs), "colors" (colour-coded
            PNGs), "binary" (0 and 255), "masks" (a mask per class) or "pairs" (PNGs of indices).
        images: Folder of the images, for "coco", "cvat" and "labelme"; by default that of the
            annotations, or for "cvat" `images` beside them.
        image_pattern: Where the images are, for the other formats: such as
            "{split}/img/{name}.jpg", see `pdanet_tf.data.patterns.find_files`.
        annotation_pattern: Where the annotations are: such as "{split}/mask/{name}_mask.png"; for
            "masks" with `{class}`.
        color_table: File of colours and names, for "colors"; see `color_table.read_color_table`.
        label_offset: The value of the first class, for "pairs"; 0 by default.
        ignore_label: The values of unlabelled pixels, for "pairs"; 255 by default.
        resize_masks: Whether annotations of another size than their image are resized, to the
            nearest pixel; otherwise they are an error.
        class_names: Names of the classes in the order of their labels; by default those of the
            source. Names of the source that are not among them are errors.
        class_colors: One colour per class; by default those of the source, or bright colours.
        ignore: Names of classes whose pixels become unlabelled (255).
        unlabelled: What pixels of no shape or mask are, for all formats but "voc", "colors" and
            "pairs": "background" for the class background,
            which becomes the first class if there is none of that name; "ignore" for 255.
        overlap: "larger-first" (smaller shapes cover larger ones) or "file-order" (later shapes
            cover earlier ones). By default file-order for "labelme" and "cvat", whose users see
            that order, and larger-first for "coco" and "yolo", whose order has no meaning. The
            formats of images do not take it.
        ignore_crowds: Whether crowds of COCO (`iscrowd`) become 255, below all other shapes;
            otherwise they have their class and are drawn as any other shape.
        split_lists: A text file of image names for each split; images in no list are left out.
        validation_share: Share of the images that become the split "validation" if the source has
            no splits and there are no lists. Each class occurs in it in that share.
        group_pattern: Regular expression that finds the group of an image in its name, such as
            the video of a frame; images of one group stay in one split.
        seed: Seed of the split.
        link: Whether images become hard links instead of copies.
        skip_bad: Whether records with a problem are left out with a warning. Otherwise nothing is
            written if there is any.
        progress: Whether to show progress.

    Raises:
        ValueError: If an option has a wrong value, or the format does not take it.
        DataError: Lists the records that cannot be imported, by kind, with file and record.
        FileExistsError: If `output` exists.
        OSError: If a file cannot be read or written.
    """
    options = FormatOptions(
        images,
        image_pattern,
        annotation_pattern,
        color_table,
        label_offset,
        ignore_label,
        resize_masks,
        unlabelled,
        overlap,
        ignore_crowds,
    )
    options.check(format)
    if not 0 <= validation_share < 1:
        raise ValueError(
            "validation_share must be from 0 to below 1. Received: "
            f"validation_share={validation_share}"
        )
    names = tuple(class_names or ())
    found = _read(source, format, options, names, ignore)
    classes, values, fill = decide_classes(found, names, ignore, unlabelled)
    if class_colors is not None:
        classes = classes.with_colors(class_colors)
    images_found, added = check_images(found.images)
    problems = [*found.problems, *added]
    if not skip_bad:
        raise_if_any(problems)
    _fail_if_empty(images_found, problems)
    splitting = Splitting(split_lists, validation_share, group_pattern, seed)
    splitting.check(images_found)
    larger_first = overlap == "larger-first" or (overlap is None and not found.ordered)
    rendering = Rendering(values, fill, larger_first, ignore_crowds)
    with whole_folder(Path(output)) as folder:
        kept, presence, added = draw_all(images_found, found.names, rendering, folder, progress)
        problems += added
        if not skip_bad:
            raise_if_any(problems)
        drawn = [images_found[index] for index in kept]
        _fail_if_empty(drawn, problems)
        splits = splitting.split(drawn, presence)
        for index, image, split in zip(kept, drawn, splits, strict=True):
            if split is not None:
                place(folder, index, image, split, link)
        remove_stage(folder)
        write_class_table(folder / CLASSES_FILE, classes)
    counts = Counter(split for split in splits if split is not None)
    datasets = {
        split: load_dataset("folder", split, output, strict=False)
        for split in sorted(counts, key=lambda split: (split != "train", split))
    }
    return ImportReport(
        Path(output),
        classes,
        {split: counts[split] for split in datasets},
        splits.count(None),
        sum(image.decode is None and not image.shapes for image in drawn),
        tuple(_as_warning(problem) for problem in problems),
        validate_dataset(datasets, progress),
    )


def _read(
    source: PathLike | Mapping[str, PathLike],
    format: str,
    options: FormatOptions,
    names: Sequence[str],
    ignore: Sequence[str],
) -> Source:
    """Reads one source, or one per split as one."""
    if not isinstance(source, Mapping):
        return read_source(Path(source), format, options, names, ignore)
    parts = {
        split: read_source(Path(path), format, options, names, ignore)
        for split, path in source.items()
    }
    if not parts:
        raise ValueError("source must be a file or folder, or one for each split. Received: none")
    first, *others = parts.items()
    for split, part in others:
        if part.names != first[1].names and not names and format != "labelme":
            raise DataError(
                f"The sources of {first[0]} and {split} have different classes: "
                f"{shorten(', '.join(first[1].names))} and {shorten(', '.join(part.names))}. Set "
                "class_names, the names in the order that the labels should have"
            )
    whole = first[1]
    for split, part in parts.items():
        for image in part.images:
            image.split = split
        if part is not whole:
            whole.images += part.images
            whole.problems += part.problems
            whole.names = list(dict.fromkeys([*whole.names, *part.names]))
    if format == "labelme":
        whole.names.sort()
    return whole


def _as_warning(problem: Problem) -> Problem:
    is_fatal = problem.severity == "fatal"
    return dataclasses.replace(problem, severity="warning") if is_fatal else problem


def _fail_if_empty(images: Sequence[SourceImage], problems: Sequence[Problem]) -> None:
    if not images:
        raise_if_any(problems)
        raise DataError("The annotations contain no image that can be imported")
