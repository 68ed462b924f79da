"""The logs of a run for TensorBoard."""

import errno
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from pdanet_tf.training.run_folder import RunFolder


def has_tensorboard() -> bool:
    """Returns whether TensorBoard is installed, so that a run writes logs for it."""
    return importlib.util.find_spec("tensorboard") is not None


def logs_of(folder: RunFolder) -> Path:
    """Returns the folder of the logs of a run."""
    return folder.path / "logs"


@contextmanager
def full_disk_as_os_error(folder: RunFolder) -> Iterator[None]:
    """Converts TensorFlow's error to an OSError if the logs fill the disk in a block."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        full = [code for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)]
        if not full:
            raise  # out of memory
        raise OSError(
            full[0],
            f"{os.strerror(full[0])}: TensorBoard's logs in {logs_of(folder)} "
            f"could not be written. The last good checkpoint is {folder.last}.",
        ) from error
