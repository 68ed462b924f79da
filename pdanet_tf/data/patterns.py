"""Pairs of images and annotations by patterns of their paths."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.split_lists import split_name

_FIELDS = ("name", "split", "class")
_SHOWN = 3


@dataclass(frozen=True)
class FoundFile:
    """A file whose path fits a pattern.

    Attributes:
        path: The file.
        name: What `{name}` stands for.
        split: What `{split}` stands for, see `split_name`; None without that field.
        label: What `{class}` stands for; None without that field.
    """

    path: Path
    name: str
    split: str | None
    label: str | None


def find_files(
    root: Path, argument: str, pattern: str, classes: Sequence[str] = ()
) -> list[FoundFile]:
    """Returns the files of a folder whose path fits a pattern, in the order of their paths.

    Files and folders whose names begin with a dot, such as `._a.png` of macOS, are not files of a
    data set.

    Args:
        root: The folder.
        argument: Name of the pattern, for messages.
        pattern: A path relative to `root`, such as "{split}/img/{name}.jpg". `{name}` stands for
            what an image and its annotation have in common, and may contain slashes; `{split}`
            for a folder or a part of a name, and `{class}` for a class; `*` for anything within
            one name.
        classes: Known classes, which may contain what separates `{name}` and `{class}`. If a path
            fits with one of them, that is its class; otherwise anything without a slash can be.

    Raises:
        ValueError: If the pattern has another field or lacks `{name}`.
        DataError: If no file fits.
    """
    known_first = dict.fromkeys((tuple(classes), ()))
    expressions = [_expression(argument, pattern, known) for known in known_first]
    found, others = [], []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for file in sorted(name for name in files if name[0] != "."):
            path = Path(folder, file)
            relative = path.relative_to(root).as_posix()
            matches = (expression.fullmatch(relative) for expression in expressions)
            match = next(filter(None, matches), None)
            if match is None:
                others.append(relative)
                continue
            parts = match.groupdict()
            split = parts.get("split")
            split = None if split is None else split_name(split)
            found.append(FoundFile(path, parts["name"], split, parts.get("class_")))
    if not found:
        text = f"contains no file that fits {argument}={pattern!r}"
        if others:
            more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
            text += f"; it contains {', '.join(others[:_SHOWN])}{more}"
        raise DataError(Problem(str(root), "no files", text, f"Set {argument} to fit these paths"))
    return found


def find_images(
    root: Path, pattern: str, endings: Sequence[str] = IMAGE_ENDINGS
) -> tuple[list[FoundFile], list[Problem]]:
    """Returns the images whose paths fit a pattern, one of each name, and the others as problems.

    Args:
        root: The folder.
        pattern: See `find_files`.
        endings: Extensions of images.
    """
    found = find_files(root, "image_pattern", pattern)
    images = [each for each in found if each.path.suffix.lower() in endings]
    return first_files(images, "two images of one name", "of the same name")


def first_files(
    found: Sequence[FoundFile], kind: str, whose: str, by_split: bool = True
) -> tuple[list[FoundFile], list[Problem]]:
    """Returns the first file of each name, split and class, and the problems of the others.

    Args:
        found: The files.
        kind: The kind of the problems, such as "two images of one name".
        whose: What they share, such as "of the same name".
        by_split: Whether files of several splits may have one name.
    """
    first: dict[tuple[str, str | None, str | None], FoundFile] = {}
    problems = []
    for each in found:
        split = each.split if by_split else None
        known = first.setdefault((same_form(each.name), split, each.label), each)
        if known is not each:
            is_beside = known.path.parent == each.path.parent
            text = f"there is also {known.path.name if is_beside else known.path} {whose}"
            problems.append(Problem(str(each.path), kind, text, "Keep one of them"))
    return list(first.values()), problems


@dataclass(frozen=True)
class FoundPairs:
    """Images and annotations that belong together by their names, and the others.

    Attributes:
        pairs: Image and annotation.
        lone_images: Images without annotation.
        lone_annotations: Annotations without image.
        problems: Files that have the name of another one.
    """

    pairs: list[tuple[FoundFile, FoundFile]]
    lone_images: list[FoundFile]
    lone_annotations: list[FoundFile]
    problems: list[Problem]


def find_pairs(
    root: Path,
    image_pattern: str,
    annotation_pattern: str,
    endings: Sequence[str] = IMAGE_ENDINGS,
    label_endings: Sequence[str] | None = None,
) -> FoundPairs:
    """Pairs the images and the annotations of a folder whose paths fit two patterns.

    An image and an annotation belong together if `{name}` is the same in both, whatever the
    Unicode form; and `{split}`, if both patterns have it. A file that fits both patterns belongs to
    the one that leaves less to `{name}`, or else to the other fields: with "{name}.png" and
    "{name}_mask.png" the file `a_mask.png` is an annotation.

    Args:
        root: The folder.
        image_pattern: Pattern of the images, see `find_files`.
        annotation_pattern: Pattern of the annotations.
        endings: Extensions of images; other files are left out.
        label_endings: Extensions of annotations; None for any.

    Raises:
        ValueError: If a pattern has another field or lacks `{name}`, or both are the same.
        DataError: If no file fits a pattern, or none that does has such an extension.
    """
    if image_pattern == annotation_pattern:
        raise ValueError(
            "image_pattern and annotation_pattern must differ. Received: "
            f"image_pattern={image_pattern!r} for both"
        )
    labels = find_files(root, "annotation_pattern", annotation_pattern)
    images = find_files(root, "image_pattern", image_pattern)
    lengths = {each.path: len(each.name) for each in labels}
    is_closer = _count_fixed(annotation_pattern) > _count_fixed(image_pattern)
    are_labels = {
        each.path
        for each in images
        if lengths.get(each.path, len(each.name) + 1) < len(each.name) + is_closer
    }
    images = [each for each in images if each.path not in are_labels]
    are_images = {each.path for each in images}
    labels = [each for each in labels if each.path not in are_images]
    images = _with_endings(root, images, endings, "image_pattern", image_pattern)
    if label_endings is not None:
        labels = _with_endings(
            root, labels, label_endings, "annotation_pattern", annotation_pattern
        )
    by_split = all("{split}" in pattern for pattern in (image_pattern, annotation_pattern))
    labels, two_labels = first_files(
        labels, "two annotations of one image", "for the same image", by_split
    )
    images, two_images = first_files(
        images, "two images of one annotation", "of the same name", by_split
    )

    def key(each: FoundFile) -> tuple[str, str | None]:
        return same_form(each.name), each.split if by_split else None

    left = {key(each): each for each in labels}
    pairs, lone = [], []
    for image in images:
        label = left.pop(key(image), None)
        if label is None:
            lone.append(image)
        else:
            pairs.append((image, label))
    return FoundPairs(pairs, lone, list(left.values()), [*two_labels, *two_images])


def same_form(name: str) -> str:
    """Returns a name in the Unicode form NFC.

    macOS and others store "\u00e9" as two characters, so names that look the same can differ.
    """
    return unicodedata.normalize("NFC", name)


def _count_fixed(pattern: str) -> int:
    """Returns the number of characters of a pattern outside its fields."""
    return len(re.sub(r"{.*?}|\*", "", pattern))


def _with_endings(
    root: Path, found: Sequence[FoundFile], endings: Sequence[str], argument: str, pattern: str
) -> list[FoundFile]:
    """Returns the files that have one of some extensions; raises if none has."""
    kept = [each for each in found if each.path.suffix.lower() in endings]
    if kept:
        return kept
    others = sorted({each.path.suffix.lower() or "no extension" for each in found})
    text = f"{argument}={pattern!r} fits only files that are not read ({', '.join(others)})"
    if not found:
        text = f"every file that fits {argument}={pattern!r} fits the other pattern more closely"
    advice = f"Set {argument} to fit files of {', '.join(endings)}"
    if ".npy" in others:
        advice += "; with channels, the number of channels, .npy files are read as images"
    raise DataError(Problem(str(root), "no files", text, advice))


def _expression(argument: str, pattern: str, classes: Sequence[str]) -> re.Pattern[str]:
    unknown = [name for name in re.findall(r"{(.*?)}", pattern) if name not in _FIELDS]
    if unknown or pattern.count("{name}") != 1:
        wrong = f"; there is no field {with_nearest(unknown, _FIELDS)}" if unknown else ""
        raise ValueError(
            f"{argument} must contain {{name}} once, and may contain {{split}}, {{class}} and *"
            f"{wrong}. Received: {argument}={pattern!r}"
        )
    longest_first = sorted(classes, key=len, reverse=True)
    fields = {
        # With known classes the shortest name, so that `a_side_road` is not `a_side` and a road.
        "{name}": "(?P<name>.+?)" if classes else "(?P<name>.+)",
        "{split}": "(?P<split>[^/]+)",
        "{class}": f"(?P<class_>{'|'.join(map(re.escape, longest_first)) or '[^/]+'})",
        "*": "[^/]*",
    }
    parts = re.split(r"({name}|{split}|{class}|\*)", pattern)
    return re.compile("".join(fields.get(part) or re.escape(part) for part in parts))
