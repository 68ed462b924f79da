"""One process per output folder."""

import contextlib
import errno
import json
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pdanet_tf.files import describe_reason, plain_error

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # there is none on Windows, where folders are not locked
    fcntl = None

_LOCK_FILE = ".lock"
_HELD = (errno.EAGAIN, errno.EACCES)


def refuse_workers(environment: Mapping[str, str]) -> None:
    """Raises if TF_CONFIG makes this process one of several.

    Raises:
        ValueError: If it names more than one task, or is no JSON object.
    """
    text = environment.get("TF_CONFIG") or "{}"
    try:
        cluster = json.loads(text).get("cluster") or {}
        tasks = sum(len(addresses) for addresses in cluster.values())
    except (AttributeError, RecursionError, TypeError, ValueError):
        raise ValueError(
            "The environment variable TF_CONFIG must be a JSON object whose cluster maps jobs to "
            f"lists of addresses. Received: TF_CONFIG={text[:100]!r}"
        ) from None
    if tasks > 1:
        raise ValueError(
            f"TF_CONFIG names a cluster of {tasks} tasks, but training runs in one process: every "
            "worker would write the same files. Unset TF_CONFIG to train on the devices of one "
            "machine."
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes and threads from training in a folder, which is made if it is missing.

    The lock is the operating system's: it ends with the process, however that ends. A folder that
    was made here and is still empty is removed at the end.

    Raises:
        FileExistsError: If another process or thread trains in the folder.
        OSError: If the folder cannot be made or written to; the message names it.
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
                # Before the lock is given up: another process may hold the file afterwards.
                (folder / _LOCK_FILE).unlink(missing_ok=True)
                os.close(descriptor)
    finally:
        with contextlib.suppress(OSError):  # not empty
            for each in missing:
                each.rmdir()


def _acquire(folder: Path) -> int | None:
    """Locks a folder's lock file; returns its descriptor, or None where there are no locks."""
    file = folder / _LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return None
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, file):
                _sign(descriptor)
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


def _is(descriptor: int, file: Path) -> bool:
    """Tells whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Writes who holds the lock, for the message that others get."""
    owner = f"process {os.getpid()} on {socket.gethostname()}\n"
    with contextlib.suppress(OSError):  # the lock holds without, too: on a full disk
        os.ftruncate(descriptor, 0)
        os.write(descriptor, owner.encode())
