"""Process-wide settings around the start of TensorFlow: the allocator, and the start-up log.

They affect the whole process, so the command line makes them. `pdanet_tf.train` makes the first.
"""

import ctypes
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO

# Parameters of glibc's `mallopt`, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
# A user who sets one of these has configured the allocator.
_ALLOCATOR_VARIABLES = re.compile(r"MALLOC_\w+|GLIBC_TUNABLES")
_OTHER_ALLOCATORS = re.compile(r"tcmalloc|jemalloc|mimalloc|hoard", re.IGNORECASE)

# The beginnings of lines of TensorFlow's log, in both of its formats, and of continuation lines.
_LOG_LINE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    rb"|Skipping registering GPU devices\.\.\.$"
)
_importing = threading.Lock()


def keep_freed_memory(one_arena: bool = False) -> bool:
    """Makes glibc keep freed memory, instead of returning it to the system.

    TensorFlow frees its tensors after each operation. It also calls
    `mallopt(M_TRIM_THRESHOLD, 128 KiB)` when it creates its first `GeneratorDataset`, as
    `tf.distribute` does. From then on every large tensor is allocated in new pages, which the
    system must clear; this takes up to half of a training step on a CPU. This function sets
    M_TRIM_THRESHOLD to "never" and M_MMAP_MAX to 0, for the whole process: the process keeps the
    memory of its peak for later use, until `malloc_trim` is called. TensorFlow's call undoes the
    first setting once, so a training loop calls this function again at its first batch.

    Does nothing if glibc is not the allocator (another system, or tcmalloc or jemalloc
    preloaded), or if the environment sets MALLOC_* or GLIBC_TUNABLES.

    Args:
        one_arena: Whether all threads allocate from one arena (M_ARENA_MAX), so that they share
            freed memory. Takes effect only before the process has other threads.

    Returns:
        Whether the settings were made.
    """
    if sys.platform != "linux" or allocator_variables():
        return False
    try:
        library = ctypes.CDLL(None)
        _ = library.gnu_get_libc_version  # musl has neither
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}  # -1 becomes the largest size
    if one_arena:
        settings[_M_ARENA_MAX] = 1
    return all(mallopt(name, value) for name, value in settings.items())  # each 1 if it succeeds


def allocator_variables() -> list[str]:
    """Returns the variables of the environment by which the user has configured the allocator."""
    found = sorted(filter(_ALLOCATOR_VARIABLES.fullmatch, os.environ))
    if _OTHER_ALLOCATORS.search(os.environ.get("LD_PRELOAD", "")):
        found.append("LD_PRELOAD")
    return found


def import_keras_quietly(with_tensorflow: bool = False, with_devices: bool = True) -> None:
    """Imports Keras and its backend, and hides the lines that TensorFlow logs as it starts.

    C++ code writes some of them (oneDNN, the processor's features, a missing CUDA) at every
    TF_CPP_MIN_LOG_LEVEL, so the function redirects file descriptor 2 to a temporary file during
    the import. Afterwards it copies all other output to standard error, or everything if the
    import failed. It also initialises TensorFlow's devices, because that logs as well.

    Does nothing if TensorFlow is already imported. Hides nothing if the user has set
    TF_CPP_MIN_LOG_LEVEL to 0 or 1.
    """
    with _importing:
        if "tensorflow" in sys.modules:
            return
        if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
            import_module("keras")
            return
        with _without_log_lines():
            keras = import_module("keras")
            is_backend = keras.backend.backend() == "tensorflow"
            if is_backend or with_tensorflow:
                config = import_module("tensorflow").config
                config.list_physical_devices()  # which looks for CUDA
                if is_backend and with_devices:
                    config.list_logical_devices()


@contextmanager
def _without_log_lines() -> Iterator[None]:
    """Removes the lines of TensorFlow's log from the output to file descriptor 2."""
    try:
        standard_error = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    try:
        with tempfile.TemporaryFile() as caught:
            _flush_standard_error()
            os.dup2(caught.fileno(), 2)
            failed = False
            try:
                yield
            except Exception:
                failed = True
                raise
            finally:
                _flush_standard_error()
                os.dup2(standard_error, 2)
                _copy_output(caught, everything=failed)
    finally:
        os.close(standard_error)


def _flush_standard_error() -> None:
    if sys.stderr is not None and not getattr(sys.stderr, "closed", False):
        sys.stderr.flush()


def _copy_output(caught: IO[bytes], everything: bool) -> None:
    caught.seek(0)
    for line in caught:
        if everything or not _LOG_LINE.match(line):
            os.write(2, line)
