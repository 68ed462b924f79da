"""Locks the folder of a run, so that only one process trains there."""

import contextlib
import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdanet_tf.files import HAS_LOCKS, describe_reason, lock_descriptor, plain_error

_LOCK_FILE = ".lock"
_HELD = (errno.EAGAIN, errno.EACCES)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder against training by other processes and threads.

    Creates the folder if it does not exist, and removes it at the end if it is still empty. The
    operating system holds the lock, and releases it when the process ends, for whatever reason.

    Raises:
        FileExistsError: If another process or thread trains in the folder.
        OSError: If the folder cannot be created or written to; the message names it.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        try:
            descriptor = _acquire(folder)
        except OSError as error:
            if error.errno is None:
                raise
            reason = describe_reason(error, folder / _LOCK_FILE)
            raise plain_error(
                error.errno, f"The run's folder {folder} cannot be written to: {reason}"
            ) from error
        try:
            yield
        finally:
            if descriptor is not None:
                # The file is removed before the lock is released: afterwards it may belong to
                # another process.
                (folder / _LOCK_FILE).unlink(missing_ok=True)
                os.close(descriptor)
    finally:
        with contextlib.suppress(OSError):  # not empty
            for each in missing:
                each.rmdir()


def _acquire(folder: Path) -> int | None:
    """Locks the lock file of a folder; returns its descriptor, or None if locks do not work."""
    file = folder / _LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if not HAS_LOCKS:  # on Windows
            return None
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            lock_descriptor(descriptor)
            if _is_at(descriptor, file):
                _write_owner(descriptor)
                return descriptor
        except OSError as error:
            owner = os.pread(descriptor, 300, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if error.errno in _HELD:
                raise FileExistsError(
                    f"{folder} is in use: {owner or 'another process'} trains there. Choose "
                    "another output_dir, or wait until it ends."
                ) from None
            warnings.warn(
                f"{folder} cannot be locked ({error.strerror}): make sure that no other process "
                "trains there.",
                stacklevel=4,
            )
            return None
        os.close(descriptor)  # the former owner has removed the file


def _is_at(descriptor: int, file: Path) -> bool:
    """Returns whether an open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _write_owner(descriptor: int) -> None:
    """Writes the owner of the lock into its file, for the message that other processes show."""
    owner = f"process {os.getpid()} on {socket.gethostname()}\n"
    with contextlib.suppress(OSError):  # on a full disk; the lock works without this text
        os.ftruncate(descriptor, 0)
        os.write(descriptor, owner.encode())
