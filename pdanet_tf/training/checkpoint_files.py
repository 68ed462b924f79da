"""The files of checkpoints: written whole, with checksums, and the last few kept."""

import hashlib
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from pdanet_tf.files import one_line, whole_file

_CHECKSUMS_ENTRY = "pdanet_tf_checksums.json"
_BLOCK = 2**20  # bytes that are read at once


def write_checkpoint(
    path: Path,
    size: int,
    save: Callable[[Path], object],
    entries: Mapping[str, str | bytes],
    former: Sequence[Path] = (),
) -> None:
    """Writes a checkpoint, whole or not at all, and keeps those before it.

    Args:
        path: The `.keras` file, a zip archive.
        size: Approximate size in bytes, for the message when the disk is full.
        save: Writes a `.keras` file to a path.
        entries: What is added to the archive, by the names of its entries.
        former: Names for the present file and for those before it, newest first. The oldest file
            is lost. By default the present file is replaced.

    Raises:
        OSError: If it cannot be written, for example because the disk is full. All former files
            are then as they were.
    """
    with whole_file(path, size, lambda: _shift(path, former)) as temporary:
        save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        with zipfile.ZipFile(temporary, "a") as archive:
            checksums = {name: _checksum(archive, name) for name in archive.namelist()}
            archive.writestr(_CHECKSUMS_ENTRY, json.dumps(checksums))


def _shift(path: Path, former: Sequence[Path]) -> None:
    """Renames each file to the next name, the oldest first. No kill loses more than the oldest."""
    names = [path, *former]
    for newer, older in reversed(list(itertools.pairwise(names))):
        if newer.exists():
            os.replace(newer, older)


def check_checkpoint(path: Path) -> None:
    """Reads a whole checkpoint, and compares its content with its checksums (SHA-256).

    Files of an earlier pdanet_tf have none; those of the zip archive (CRC-32) are compared then.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is cut off or changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _CHECKSUMS_ENTRY not in names:
                damaged = archive.testzip()
            else:
                expected = json.loads(archive.read(_CHECKSUMS_ENTRY))
                found = {name: _checksum(archive, name) for name in names}
                del found[_CHECKSUMS_ENTRY]
                changed = expected.items() ^ found.items()
                damaged = min(changed)[0] if changed else None
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged archives raise errors of many kinds
        raise ValueError(f"{path}: not a checkpoint of a run: {one_line(error)}") from error
    if damaged is not None:
        raise ValueError(
            f"{path}: not a checkpoint of a run: the checksum of {damaged} in it is wrong"
        )


def _checksum(archive: zipfile.ZipFile, name: str) -> str:
    found = hashlib.sha256()
    with archive.open(name) as entry:
        while block := entry.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def newest_sound(paths: Sequence[Path]) -> Path:
    """Returns the newest checkpoint that is not damaged, and warns about newer ones that are.

    Args:
        paths: The checkpoints of a run that exist, newest first; at least one.

    Raises:
        ValueError: If all of them are damaged; the message is about the newest.
    """
    damaged: list[ValueError] = []
    for path in paths:
        try:
            check_checkpoint(path)
        except ValueError as error:
            damaged.append(error)
            continue
        for fault in damaged:
            _warn(f"Warning: {fault}. {path.name}, a state before it, is used instead.")
        return path
    raise damaged[0]


def _warn(text: str) -> None:
    Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)


def former_paths(path: Path) -> Iterator[Path]:
    """Yields the names of the checkpoints before `path`, newest first, without end."""
    number = 1
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
