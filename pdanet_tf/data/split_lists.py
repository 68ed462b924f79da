"""Names of splits, and lists of the files of each split."""

import posixpath
from collections.abc import Mapping, Sequence

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.text_files import read_text

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_SHOWN = 5


def split_name(folder: str) -> str:
    """Returns the name of the split for which a folder or a subset stands: "val" is validation."""
    return _SPLITS.get(folder.lower(), folder)


def plain_name(path: str) -> str:
    """Returns a relative path with forward slashes and without the extension."""
    return posixpath.splitext(posixpath.normpath(path.replace("\\", "/")))[0]


def split_by_lists(names: Sequence[str], lists: Mapping[str, PathLike]) -> list[str | None]:
    """Returns the split of each image by lists of files.

    Args:
        names: Names of the images: relative paths without extension.
        lists: For each split a text file with one image a line: its name or path, with or without
            extension. A line may also be the last part of a path, if only one image ends so, or a
            longer path that ends with the name.

    Returns:
        The splits; None for images that no list has.

    Raises:
        DataError: If a line is no image or several, or an image is in two splits.
    """
    whole: dict[str, list[int]] = {}
    ends: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        whole.setdefault(name, []).append(index)
        parts = name.split("/")
        for start in range(len(parts)):
            ends.setdefault("/".join(parts[start:]), []).append(index)
    splits: list[str | None] = [None] * len(names)
    wrong = []
    for split, file in lists.items():
        lines = [line.strip() for line in read_text(file).splitlines()]
        for number, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            found = _matches(line, whole, ends)
            place = f"{file}: line {number}"
            if len(found) != 1:
                count = quantity(len(found), "image") if found else "no image"
                wrong.append(f"{place} is {line!r}, which is the name of {count}")
            elif splits[found[0]] not in (None, split):
                wrong.append(f"{place} is {line!r}, which is also in {splits[found[0]]}")
            else:
                splits[found[0]] = split
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(f"{'; '.join(wrong[:_SHOWN])}{more}. Correct the lists")
    return splits


def _matches(line: str, whole: Mapping[str, list[int]], ends: Mapping[str, list[int]]) -> list[int]:
    """Returns the images that a line names, as it stands or without its extension.

    Args:
        line: The line.
        whole: The images of each name.
        ends: The images of each last part of a name.
    """
    for spelled in (posixpath.normpath(line.replace("\\", "/")), plain_name(line)):
        parts = spelled.split("/")
        suffixes = (whole.get("/".join(parts[start:])) for start in range(1, len(parts)))
        found = whole.get(spelled) or ends.get(spelled) or next(filter(None, suffixes), None)
        if found:
            return found
    return []
