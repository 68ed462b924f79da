"""Pairs of images and annotations by patterns of their paths."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.importing.source import split_name
from pdanet_tf.data.problems import DataError, Problem

_FIELDS = ("name", "split", "class")


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
            text += f"; it contains {', '.join(others[:3])}"
        raise DataError(Problem(str(root), "no files", text, f"Set {argument} to fit these paths"))
    return found


def find_images(root: Path, pattern: str) -> tuple[list[FoundFile], list[Problem]]:
    """Returns the images whose paths fit a pattern, one of each name, and the others as problems.

    Args:
        root: The folder.
        pattern: See `find_files`.
    """
    found = find_files(root, "image_pattern", pattern)
    images = [each for each in found if each.path.suffix.lower() in IMAGE_ENDINGS]
    return first_files(images, "two images of one name", "of the same name")


def first_files(
    found: Sequence[FoundFile], kind: str, whose: str
) -> tuple[list[FoundFile], list[Problem]]:
    """Returns the first file of each name, split and class, and the problems of the others.

    Args:
        found: The files.
        kind: The kind of the problems, such as "two images of one name".
        whose: What they share, such as "of the same name".
    """
    first: dict[tuple[str, str | None, str | None], FoundFile] = {}
    problems = []
    for each in found:
        known = first.setdefault((each.name, each.split, each.label), each)
        if known is not each:
            text = f"there is also {known.path.name} {whose}"
            problems.append(Problem(str(each.path), kind, text, "Keep one of them"))
    return list(first.values()), problems


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
