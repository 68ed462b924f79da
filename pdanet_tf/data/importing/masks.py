"""Annotations that are images: indices, colours, binary masks, and one mask per class."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pdanet_tf.data.importing.color_table import read_color_table
from pdanet_tf.data.importing.mask_files import (
    list_values,
    read_binary_mask,
    read_fitted,
    read_rgb,
)
from pdanet_tf.data.importing.source import UNLABELLED, Source, SourceImage
from pdanet_tf.data.patterns import FoundFile, find_files, find_images, find_pairs, first_files
from pdanet_tf.data.problems import Problem
from pdanet_tf.data.readers import read_label
from pdanet_tf.data.sources.voc import VOC_CLASSES

_SHOWN = 5
_ADVICE_OF_VOC = (
    "It was left out. Pascal VOC 2012 itself needs no import: the data set 'voc' reads its lists "
    "of splits"
)


def read_indices(
    root: Path,
    patterns: tuple[str, str],
    names: Sequence[str],
    label_offset: int,
    ignored: Sequence[int],
    resize: bool,
    partial_advice: str = "",
) -> Source:
    """Reads PNGs whose values, or palette indices, are classes.

    Args:
        root: The folder.
        patterns: Those of the images and of the annotations, see `find_files`.
        names: Names of the classes.
        label_offset: The value of the first class; lower values are unlabelled.
        ignored: Values that mark unlabelled pixels.
        resize: Whether to resize annotations of another size, to the nearest pixel.
        partial_advice: The advice of the notes on images without annotation; if empty, these are
            errors.
    """

    def read(path: Path) -> tuple[np.ndarray, list[Problem]]:
        label = read_label(path) - label_offset
        unlabelled = (label < 0) | np.isin(label + label_offset, ignored)
        wrong = np.unique(label[~unlabelled & (label >= len(names))]) + label_offset
        label[unlabelled | (label >= len(names))] = UNLABELLED
        if not wrong.size:
            return label, []
        text = (
            f"contains {list_values(wrong.tolist())}; the {len(names)} classes have "
            f"{label_offset} to {label_offset + len(names) - 1}"
        )
        advice = "Set class_names, label_offset or ignore_label to what the values mean"
        return label, [Problem(str(path), "values without class", text, advice)]

    source = _paired(root, *patterns, partial(read_fitted, read, resize=resize), partial_advice)
    source.names, source.complete = list(names), True
    return source


def read_voc(root: Path, patterns: tuple[str, str], names: Sequence[str], resize: bool) -> Source:
    """Reads Pascal VOC's palette PNGs: indices from 0 for background, 255 for borders.

    Most images of Pascal VOC have boxes alone. Images without annotation are therefore left out
    with a note.
    """
    classes = dict(zip(VOC_CLASSES.names, VOC_CLASSES.colors, strict=True))
    names_used = names or VOC_CLASSES.names
    source = read_indices(root, patterns, names_used, 0, (255,), resize, _ADVICE_OF_VOC)
    source.colors = {} if names else classes
    return source


def read_colors(root: Path, patterns: tuple[str, str], table: Path, resize: bool) -> Source:
    """Reads colour-coded PNGs.

    Args:
        root: The folder.
        patterns: Those of the images and of the annotations.
        table: The colours, see `read_color_table`.
        resize: Whether to resize annotations of another size.
    """
    rows = read_color_table(table)
    names = list(dict.fromkeys(name for name, _ in rows))
    codes = np.array([_code(np.array(color)) for _, color in rows])
    order = np.argsort(codes)
    codes, indices = codes[order], np.array([names.index(name) for name, _ in rows])[order]

    def read(path: Path) -> tuple[np.ndarray, list[Problem]]:
        pixels = _code(read_rgb(path))
        positions = np.searchsorted(codes, pixels).clip(max=len(codes) - 1)
        known = codes[positions] == pixels
        label = np.where(known, indices[positions], UNLABELLED)
        if known.all():
            return label, []
        found, counts = np.unique(pixels[~known], return_counts=True)
        most = np.argsort(-counts, kind="stable")
        shown = [f"{_spell(found[each])} in {counts[each]:,} pixels" for each in most[:_SHOWN]]
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        text = f"contains colours that {table} does not list: {', '.join(shown)}{more}"
        advice = "Add them to the table; many similar colours are the marks of lossy compression"
        return label, [Problem(str(path), "unknown colours", text, advice)]

    source = _paired(root, *patterns, partial(read_fitted, read, resize=resize))
    source.names, source.complete = names, True
    source.colors = dict(reversed(rows))  # a class has its first colour
    return source


def read_binary(
    root: Path, patterns: tuple[str, str], name: str, background: str | None, resize: bool
) -> Source:
    """Reads masks of one class: 0 outside, and 255 or 1 inside.

    Args:
        root: The folder.
        patterns: Those of the images and of the annotations.
        name: Name of the class.
        background: Name of the class of all other pixels; None if it has no name.
        resize: Whether to resize annotations of another size.
    """

    def read(path: Path) -> tuple[np.ndarray, list[Problem]]:
        inside, problems = read_binary_mask(path)
        return np.where(inside, 0, UNLABELLED), problems

    source = _paired(root, *patterns, partial(read_fitted, read, resize=resize))
    source.names, source.background = [name], background
    return source


def read_masks(
    root: Path,
    patterns: tuple[str, str],
    names: Sequence[str],
    ignore: Sequence[str],
    resize: bool,
) -> Source:
    """Reads one binary mask per class and image; later classes cover earlier ones.

    Args:
        root: The folder.
        patterns: Those of the images and of the masks; the latter contains `{class}`.
        names: Names of the classes in order; other classes that are found follow in alphabetical
            order.
        ignore: Names of further classes.
        resize: Whether to resize masks of another size.
    """
    if "{class}" not in patterns[1]:
        raise ValueError(
            f"annotation_pattern must contain {{class}}, such as 'masks/{{name}}_{{class}}.png'. "
            f"Received: annotation_pattern={patterns[1]!r}"
        )
    source = Source()
    images = _images(root, patterns[0], source)
    image_files = {image.path for image in images}
    known = (*names, *ignore)
    found = [
        each
        for each in find_files(root, "annotation_pattern", patterns[1], known)
        if each.label in known or each.path not in image_files
    ]
    found, problems = first_files(found, "two masks of one class", "for the same image and class")
    source.problems += problems
    labels = sorted({str(each.label) for each in found})
    source.names = list(dict.fromkeys([*names, *labels]))
    masks: dict[tuple[str, str | None], dict[int, Path]] = {}
    for each in found:
        paths = masks.setdefault((each.name, each.split), {})
        paths[source.names.index(str(each.label))] = each.path

    def decode(paths: dict[int, Path], size: tuple[int, int]) -> tuple[np.ndarray, list[Problem]]:
        label, problems = np.full(size, UNLABELLED), []
        for index in sorted(paths):
            inside, added = read_fitted(read_binary_mask, paths[index], size, resize=resize)
            problems += added
            if inside.shape == size:
                label[inside] = index
        return label, problems

    for image in images:
        paths = masks.pop((image.name, image.split), {})
        if not paths:
            source.report(image.path, "", "image without annotation", "has no mask")
            continue
        first = str(next(iter(paths.values())))
        source.images.append(
            SourceImage(
                image.name, image.path, first, split=image.split, decode=partial(decode, paths)
            )
        )
    for rest in masks.values():
        source.report(next(iter(rest.values())), "", "annotation without image", "has no image")
    return source


def _images(root: Path, pattern: str, source: Source) -> list[FoundFile]:
    """Returns the images, one of each name; `source` gets the problems of the others."""
    images, problems = find_images(root, pattern)
    source.problems += problems
    return images


def _paired(
    root: Path,
    image_pattern: str,
    annotation_pattern: str,
    decode: Callable[[Path, tuple[int, int]], tuple[np.ndarray, list[Problem]]],
    partial_advice: str = "",
) -> Source:
    """Pairs images and annotations.

    Args:
        root: The folder.
        image_pattern: That of the images.
        annotation_pattern: That of the annotations.
        decode: Takes an annotation and the size of its image.
        partial_advice: The advice of the notes on images without annotation; if empty, these are
            errors.
    """
    source = Source()
    found = find_pairs(root, image_pattern, annotation_pattern)
    source.problems += found.problems
    for image, annotation in found.pairs:
        source.images.append(
            SourceImage(
                image.name,
                image.path,
                str(annotation.path),
                split=image.split or annotation.split,
                decode=partial(decode, annotation.path),
            )
        )
    for image in found.lone_images:
        missing = (image.path, "", "image without annotation", "has no annotation")
        if partial_advice:
            source.report(*missing, partial_advice, "note")
        else:
            source.report(*missing)
    for each in found.lone_annotations:
        source.report(each.path, "", "annotation without image", "has no image")
    return source


def _code(colors: np.ndarray) -> np.ndarray:
    """Returns one number per colour `(..., 3)`."""
    return colors.astype("int64") @ np.array([65536, 256, 1])


def _spell(code: int) -> str:
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"
