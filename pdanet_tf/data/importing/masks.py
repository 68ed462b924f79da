"""Annotations that are images: indices, colours, binary masks, and one mask per class."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pdanet_tf.data.importing.color_table import read_color_table
from pdanet_tf.data.importing.patterns import FoundFile, find_files
from pdanet_tf.data.importing.source import UNLABELLED, Source, SourceImage
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import decoding, open_image, read_label
from pdanet_tf.data.sources.folder import IMAGE_ENDINGS
from pdanet_tf.data.sources.voc import VOC_CLASSES
from pdanet_tf.data.validation.image import size_problem

_SHOWN = 5
_RESIZE = "Save both at one size; or set resize_masks=True, which takes the nearest pixel"
_Read = Callable[[Path], tuple[np.ndarray, list[Problem]]]


def read_indices(
    root: Path,
    patterns: tuple[str, str],
    names: Sequence[str],
    label_offset: int,
    ignored: Sequence[int],
    resize: bool,
) -> Source:
    """Reads PNGs whose values, or palette indices, are classes.

    Args:
        root: The folder.
        patterns: Those of the images and of the annotations, see `find_files`.
        names: Names of the classes.
        label_offset: The value of the first class; lower values are unlabelled.
        ignored: Values that mark unlabelled pixels.
        resize: Whether to resize annotations of another size, to the nearest pixel.
    """

    def read(path: Path) -> tuple[np.ndarray, list[Problem]]:
        label = read_label(path) - label_offset
        unlabelled = (label < 0) | np.isin(label + label_offset, ignored)
        wrong = np.unique(label[~unlabelled & (label >= len(names))]) + label_offset
        label[unlabelled | (label >= len(names))] = UNLABELLED
        if not wrong.size:
            return label, []
        text = (
            f"contains {_listed(wrong.tolist())}; the {len(names)} classes have "
            f"{label_offset} to {label_offset + len(names) - 1}"
        )
        advice = "Set class_names, label_offset or ignore_label to what the values mean"
        return label, [Problem(str(path), "values without class", text, advice)]

    source = _paired(root, *patterns, partial(_decode, read, resize=resize))
    source.names, source.complete = list(names), True
    return source


def read_voc(root: Path, patterns: tuple[str, str], names: Sequence[str], resize: bool) -> Source:
    """Reads Pascal VOC's palette PNGs: indices from 0 for background, 255 for borders."""
    classes = dict(zip(VOC_CLASSES.names, VOC_CLASSES.colors, strict=True))
    source = read_indices(root, patterns, names or VOC_CLASSES.names, 0, (255,), resize)
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
        pixels = _code(_read_rgb(path))
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

    source = _paired(root, *patterns, partial(_decode, read, resize=resize))
    source.names, source.complete = names, True
    source.colors = dict(reversed(rows))  # a class has its first colour
    return source


def read_binary(root: Path, patterns: tuple[str, str], name: str, resize: bool) -> Source:
    """Reads masks of one class: 0 outside, and 255 or 1 inside.

    Args:
        root: The folder.
        patterns: Those of the images and of the annotations.
        name: Name of the class.
        resize: Whether to resize annotations of another size.
    """

    def read(path: Path) -> tuple[np.ndarray, list[Problem]]:
        inside, problems = _read_binary(path)
        return np.where(inside, 0, UNLABELLED), problems

    source = _paired(root, *patterns, partial(_decode, read, resize=resize))
    source.names = [name]
    return source


def read_masks(root: Path, patterns: tuple[str, str], names: Sequence[str], resize: bool) -> Source:
    """Reads one binary mask per class and image; later classes cover earlier ones.

    Args:
        root: The folder.
        patterns: Those of the images and of the masks; the latter contains `{class}`.
        names: Names of the classes in order; if empty, those found, in alphabetical order.
        resize: Whether to resize masks of another size.
    """
    if "{class}" not in patterns[1]:
        raise ValueError(
            f"annotation_pattern must contain {{class}}, such as 'masks/{{name}}_{{class}}.png'. "
            f"Received: annotation_pattern={patterns[1]!r}"
        )
    found = find_files(root, "annotation_pattern", patterns[1], names)
    names = list(names) or sorted({each.label for each in found if each.label})
    masks: dict[tuple[str, str | None], dict[int, Path]] = {}
    for each in found:
        masks.setdefault((each.name, each.split), {})[names.index(str(each.label))] = each.path

    def decode(paths: dict[int, Path], size: tuple[int, int]) -> tuple[np.ndarray, list[Problem]]:
        label, problems = np.full(size, UNLABELLED), []
        for index in sorted(paths):
            inside, added = _decode(_read_binary, paths[index], size, resize=resize)
            problems += added
            if inside.shape == size:
                label[inside] = index
        return label, problems

    source = Source(list(names))
    images = find_files(root, "image_pattern", patterns[0])
    for image in _images(images):
        paths = masks.pop((image.name, image.split), None)
        if paths is None:
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


def _images(found: Sequence[FoundFile]) -> list[FoundFile]:
    return [each for each in found if each.path.suffix.lower() in IMAGE_ENDINGS]


def _paired(
    root: Path,
    image_pattern: str,
    annotation_pattern: str,
    decode: Callable[[Path, tuple[int, int]], tuple[np.ndarray, list[Problem]]],
) -> Source:
    """Pairs images and annotations; `decode` takes an annotation and the size of its image."""
    source = Source()
    annotations: dict[tuple[str, str | None], FoundFile] = {}
    for each in find_files(root, "annotation_pattern", annotation_pattern):
        first = annotations.setdefault((each.name, each.split), each)
        if first is not each:
            text = f"there is also {first.path.name} for the same image"
            source.report(each.path, "", "two annotations of one image", text)
    for image in _images(find_files(root, "image_pattern", image_pattern)):
        found = annotations.pop((image.name, image.split), None)
        if found is None:
            source.report(image.path, "", "image without annotation", "has no annotation")
            continue
        rendered = partial(decode, found.path)
        source.images.append(
            SourceImage(image.name, image.path, str(found.path), split=image.split, decode=rendered)
        )
    for each in annotations.values():
        source.report(each.path, "", "annotation without image", "has no image")
    return source


def _decode(
    read: _Read, path: Path, size: tuple[int, int], *, resize: bool
) -> tuple[np.ndarray, list[Problem]]:
    """Reads an annotation, and brings it to the size of its image or reports its size."""
    label, problems = read(path)
    if label.shape == size:
        return label, problems
    if not resize:
        problem = size_problem(str(path), size, label.shape)
        return label, [Problem(problem.file, problem.kind, problem.text, _RESIZE)]
    rows, columns = (
        ((np.arange(side) + 0.5) * stored / side).astype(int)
        for side, stored in zip(size, label.shape, strict=True)
    )
    return label[rows[:, None], columns], problems


def _read_binary(path: Path) -> tuple[np.ndarray, list[Problem]]:
    values = read_label(path)
    found, counts = np.unique(values, return_counts=True)
    highest = 1 if found[-1] <= 1 else 255
    wrong = (found != 0) & (found != highest)
    if not wrong.any():
        return values == highest, []
    text = f"contains {_listed(found[wrong].tolist())} in {counts[wrong].sum():,} pixels, beside 0"
    advice = "Save the mask with 0 and 255 only: without smooth edges and lossy compression"
    return values > highest // 2, [Problem(str(path), "not binary", text, advice)]


def _read_rgb(path: Path) -> np.ndarray:
    with open_image(path) as image, decoding(path, "annotation"):
        if image.format == "JPEG" or image.format == "WEBP":
            raise DataError(
                Problem(
                    str(path),
                    "annotation format",
                    f"the annotation is a {image.format} file, which changes colours",
                    "Create the annotation again as a PNG",
                )
            )
        return np.asarray(image.convert("RGB"))


def _code(colors: np.ndarray) -> np.ndarray:
    """Returns one number per colour `(..., 3)`."""
    return colors.astype("int64") @ np.array([65536, 256, 1])


def _spell(code: int) -> str:
    return f"({code >> 16}, {code >> 8 & 255}, {code & 255})"


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    return f"the values {shown}{', ...' if len(values) > _SHOWN else ''}"
