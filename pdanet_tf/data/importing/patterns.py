"""Pairs of images and annotations by patterns of their paths."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.problems import DataError, Problem

_FIELDS = ("name", "split", "class")
_SPLITS = {"training": "train", "val": "validation", "valid": "validation"}


@dataclass(frozen=True)
class FoundFile:
    """A file whose path fits a pattern.

    Attributes:
        path: The file.
        name: What `{name}` stands for.
        split: What `{split}` stands for, "val" as "validation"; None without that field.
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

    Args:
        root: The folder.
        argument: Name of the pattern, for messages.
        pattern: A path relative to `root`, such as "{split}/img/{name}.jpg". `{name}` stands for
            what an image and its annotation have in common, and may contain slashes; `{split}`
            for a folder or a part of a name, and `{class}` for a class; `*` for anything within
            one name.
        classes: What `{class}` can be; by default anything without a slash.

    Raises:
        ValueError: If the pattern has another field or lacks `{name}`.
        DataError: If no file fits.
    """
    expression = _expression(argument, pattern, classes)
    found, others = [], []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            relative = path.relative_to(root).as_posix()
            match = expression.fullmatch(relative)
            if match is None:
                others.append(relative)
                continue
            parts = match.groupdict()
            split = parts.get("split")
            split = split and _SPLITS.get(split, split)
            found.append(FoundFile(path, parts["name"], split, parts.get("class_")))
    if not found:
        text = f"contains no file that fits {argument}={pattern!r}"
        if others:
            text += f"; it contains {', '.join(others[:3])}"
        raise DataError(Problem(str(root), "no files", text, f"Set {argument} to fit these paths"))
    return found


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
        "{name}": "(?P<name>.+)",
        "{split}": "(?P<split>[^/]+)",
        "{class}": f"(?P<class_>{'|'.join(map(re.escape, longest_first)) or '[^/]+'})",
        "*": "[^/]*",
    }
    parts = re.split(r"({name}|{split}|{class}|\*)", pattern)
    return re.compile("".join(fields.get(part) or re.escape(part) for part in parts))
