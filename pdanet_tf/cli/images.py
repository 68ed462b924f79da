"""The input images of commands, and what commands print about them."""

import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.problems import printable
from pdanet_tf.data.text_files import read_text
from pdanet_tf.inference import tiled_labels
from pdanet_tf.inference.marked_png import read_mark
from pdanet_tf.inference.results import KINDS, SOURCE_KEY, resolved


def find_images(
    arguments: Iterable[str],
    endings: tuple[str, ...] = IMAGE_ENDINGS,
    lists: Iterable[str] = (),
) -> tuple[dict[Path, str], list[str]]:
    """Returns the image files that the arguments name, without duplicates.

    Folders and patterns do not include results of an earlier call, nor what lies in hidden folders.

    Args:
        arguments: Files, folders, and patterns such as `photos/**/*.jpg`. A folder stands for its
            images and those of its sub-folders.
        endings: Extensions of the images in folders and patterns.
        lists: Text files in UTF-8 with the path of one image per line.

    Returns:
        The files, each with its place in the folder structure of its source; and a message for
        each folder, pattern or list without images. The place is relative to the folder; to that
        part of a pattern that has no wildcard; for a file, its name; for a line of a list, the
        whole path, without the root.

    Raises:
        DataError: If a list is not UTF-8.
    """
    files: dict[Path, str] = {}
    seen: set[Path] = set()
    problems: list[str] = []

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read: {error.strerror}")

    sources: list[tuple[str, Callable[[str], list[tuple[Path, str]]]]] = []
    sources += [(argument, lambda name: _expand(name, endings, note)) for argument in arguments]
    sources += [(name, _read_list) for name in lists]
    for name, expand in sources:
        try:
            found = expand(name)
        except OSError as error:
            note(error)
            continue
        if not found:
            problems.append(f"{name}: this {_kind(name, expand is _read_list, endings)}")
        for file, place in found:
            full = resolved(file)
            if full not in seen:
                seen.add(full)
                files[file] = place
    return files, problems


def _kind(name: str, is_list: bool, endings: tuple[str, ...]) -> str:
    if is_list:
        return "list names no image"
    kind = "folder holds no image" if Path(name).is_dir() else "pattern has no match"
    return f"{kind} ({', '.join(endings)})"


def _expand(
    argument: str, endings: tuple[str, ...], note: Callable[[OSError], None]
) -> list[tuple[Path, str]]:
    """Returns the images of a folder or pattern, or a file itself, with their places.

    `note` is called with the errors of sub-folders that cannot be read.
    """
    root = Path(argument)
    if root.is_dir():
        return _images_of(_walk(root, note), root, endings)
    if glob.has_magic(argument) and not root.exists():
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), root.parts)
        found = map(Path, glob.iglob(argument, recursive=True))
        return _images_of(found, Path(*plain), endings)
    return [(root, root.name)]


def _read_list(name: str) -> list[tuple[Path, str]]:
    """Returns the images that a text file lists, with their places."""
    found = []
    for line in read_text(name).split("\n"):
        text = line.strip("\r")
        if text.strip():
            plain = Path(os.path.normpath(text))
            whole = Path(os.path.abspath(text)) if ".." in plain.parts else plain
            found.append((Path(text), whole.relative_to(whole.anchor).as_posix()))
    return found


def _walk(folder: Path, note: Callable[[OSError], None]) -> Iterator[Path]:
    """Yields the files of a folder and of its sub-folders, without hidden sub-folders."""
    for root, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names)


def _images_of(
    paths: Iterable[Path], root: Path, endings: tuple[str, ...]
) -> list[tuple[Path, str]]:
    return sorted(
        (path, path.relative_to(root).as_posix())
        for path in paths
        if path.suffix.lower() in endings and path.is_file() and not _is_result(path)
    )


def _is_result(path: Path) -> bool:
    """Returns whether a file is a result of an earlier call."""
    if not path.stem.endswith(tuple(f"_{kind}" for kind in KINDS)):
        return False
    if path.suffix == tiled_labels.ENDING:
        return tiled_labels.read_mark(path) is not None
    return read_mark(path, SOURCE_KEY) is not None


def print_areas(file: Path, classes: Mapping[str, float]) -> None:
    """Prints the classes of an image with their shares (0 to 1) of its area."""
    areas = ", ".join(f"{name} {100 * area:.0f}%" for name, area in classes.items())
    print(f"{printable(str(file))}: {areas}")


def print_summary(
    images: int, failed: int, output: str, what: str = "label maps and overlays"
) -> None:
    """Prints where the results of all images are, and how many images failed."""
    if failed < images:
        print(f"The {what} are in {output}")
    if failed:
        print(f"pdanet-tf: not segmented: {failed} of {images}", file=sys.stderr)
