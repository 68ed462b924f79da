"""Atomic writing of files and folders, locks, and checked reading of JSON."""

import errno
import glob
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows does not have it
    fcntl = None

HAS_LOCKS = fcntl is not None
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # the disk, a quota
_FULL = (*_NO_SPACE, errno.EFBIG)  # or the largest file
_JSON_TYPES = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
_ENDING = ".tmp"
_LOCK_FILE = ".lock"  # in the temporary folder of `whole_folder`


@contextmanager
def whole_file(
    path: Path, size: int | None = None, before_replacing: Callable[[], object] | None = None
) -> Iterator[Path]:
    """Yields a path to write to; that file replaces `path` if the block ends without an error.

    The temporary file has the name of `path`, because some writers choose the format from it. It
    is in a temporary folder next to `path`, whose name is unique among threads, processes and
    machines. File and folder are flushed to the disk, so that a power cut leaves either the former
    file or the new one.

    Args:
        path: The file.
        size: Approximate size in bytes, for the message when the disk is full.
        before_replacing: Is called when the new file is complete and on the disk, for example to
            move the former file to another name.

    Raises:
        OSError: If the file cannot be written. The message names `path` and the reason; when the
            disk is full, also the bytes that the file needs and those that are free.
    """
    with _named_errors(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(_ENDING, _prefix(path), path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _flush(temporary)
            if before_replacing is not None:
                before_replacing()
            os.replace(temporary, path)
        if os.name == "posix":  # elsewhere folders cannot be opened
            _flush(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder to write to, which becomes `path` if the block ends without an error.

    The temporary folder is next to `path`; its name is unique among threads, processes and
    machines. A process that is killed cannot remove it, so the next call with the same `path` does.
    Locks of the operating system show which folders are still in use; a folder is removed only if
    its process ran on this machine and has ended. Without such locks (Windows, some network file
    systems) the folders remain.

    Raises:
        FileExistsError: If `path` exists.
        OSError: If the folder cannot be written; the message names `path` and the reason.
    """
    with _named_errors(path):
        if path.exists() or path.is_symlink():
            raise FileExistsError(f"{path}: already exists; choose a new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in _temporary_folders(path):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        with (
            tempfile.TemporaryDirectory(_ENDING, _prefix(path), path.parent) as parent,
            _locked(Path(parent)),
        ):
            temporary = Path(parent) / path.name
            temporary.mkdir()
            yield temporary
            os.rename(temporary, path)


def lock_descriptor(descriptor: int) -> None:
    """Locks an open file without waiting. The operating system releases the lock at the last close.

    Raises:
        OSError: If another descriptor holds the lock, or the system has no such locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a temporary folder, so that `_is_abandoned` recognises that it is in use.

    The operating system releases the lock when the process ends. Does nothing where the system has
    no such locks.
    """
    if not HAS_LOCKS:
        yield
        return
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Write the name only while the lock is held: a file without it does not count.
        with suppress(OSError):
            lock_descriptor(descriptor)
            os.write(descriptor, socket.gethostname().encode())
        yield
    finally:
        os.close(descriptor)


def _is_abandoned(folder: Path) -> bool:
    """Returns True if a process of this machine locked a temporary folder, and has ended."""
    if not HAS_LOCKS:
        return False
    try:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        lock_descriptor(descriptor)
        return os.read(descriptor, 300) == socket.gethostname().encode()
    except OSError:  # the lock is held, or there are no locks
        return False
    finally:
        os.close(descriptor)


def _temporary_folders(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{glob.escape(_prefix(path))}*{_ENDING}")


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all, with the line ends that `text` has."""
    content = text.encode("utf-8")
    with whole_file(path, len(content)) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(path: Path) -> None:
    """Removes the temporary folders that `whole_file` left when its process was killed.

    The caller must make sure that no other process is writing `path`.
    """
    for folder in _temporary_folders(path):
        shutil.rmtree(folder)


def is_full_disk(error: BaseException) -> bool:
    """Returns whether an error says that the disk or a quota is full, also for other files."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def plain_error(number: int, text: str) -> OSError:
    """Returns the `OSError` of an error number with `text` as its whole message."""
    error = type(OSError(number, text))(text)
    error.errno = number
    return error


def describe_reason(error: OSError, path: Path) -> str:
    """Returns why `path` cannot be written.

    These are the operating system's words, unless a parent of `path` is not a folder.
    """
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        for parent in path.parents:
            if parent.exists() and not parent.is_dir():
                return f"{parent} is not a folder"
    return os.strerror(error.errno or errno.EIO)


@contextmanager
def _named_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Makes errors name the file or folder that is written, instead of the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not _is_about(error, path):
            raise
        if error.errno in _FULL:
            raise plain_error(error.errno, _describe_full_disk(error, path, size)) from error
        reason = describe_reason(error, path)
        raise plain_error(error.errno, f"{path} cannot be written: {reason}") from error


def _is_about(error: OSError, path: Path) -> bool:
    """Returns whether an error is about writing `path`, and not about another file."""
    if not isinstance(error.filename, str | os.PathLike):
        return True
    file, prefix = Path(error.filename), _prefix(path)
    return (
        file == path
        or file in path.parents
        or any(part.startswith(prefix) and part.endswith(_ENDING) for part in file.parts)
    )


def _prefix(path: Path) -> str:
    return f".{path.name[:40]}."  # a name has 255 bytes at most


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe_full_disk(error: OSError, path: Path, size: int | None) -> str:
    needs = "" if size is None else f" It needs about {size:,} bytes;"
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    kept = " The former file is unchanged." if path.exists() else ""
    return (
        f"{os.strerror(error.errno or errno.ENOSPC)}: {path} could not be written.{needs} "
        f"{free:,} bytes are free in {path.parent}.{kept}"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not JSON in UTF-8, or does not hold an object; the message names
            the file.
    """
    try:
        # Editors on Windows begin UTF-8 files with a byte order mark.
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON in UTF-8: {one_line(error)}") from error
    if not isinstance(content, dict):
        found = _JSON_TYPES.get(type(content), "a number")
        raise ValueError(f"{path}: expected a JSON object, found {found}")
    return content


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds an object; Python would keep the last of several values of one name."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"more than one value for {', '.join(map(repr, twice))}")
    return content


def one_line(error: BaseException, length: int = 200) -> str:
    """Returns the message of an error, shortened to one line of at most `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else f"{text[: length - 3]}..."
