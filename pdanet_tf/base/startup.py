"""What a process does before, or as, TensorFlow starts: its memory, and its messages.

Both concern the whole process, so the command line does them, and `pdanet_tf.train` the first.
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
# A user who sets one of these has chosen an allocator, or its settings.
_ALLOCATOR_VARIABLES = re.compile(r"MALLOC_\w+|GLIBC_TUNABLES")
_OTHER_ALLOCATORS = re.compile(r"tcmalloc|jemalloc|mimalloc|hoard", re.IGNORECASE)

# How a line of TensorFlow's own log begins, in both formats that it has, and what follows some.
_LOG_LINE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    rb"|Skipping registering GPU devices\.\.\.$"
)
_importing = threading.Lock()


def keep_freed_memory(one_arena: bool = False) -> bool:
    """Has glibc keep the memory that was freed, instead of returning it to the system.

    TensorFlow frees its tensors after each operation. It also calls
    `mallopt(M_TRIM_THRESHOLD, 128 KiB)` when it makes its first `GeneratorDataset`, as
    `tf.distribute` does: from then on every large tensor comes back as new pages, which the system
    must clear, for up to half of a training step on a CPU. This function sets M_TRIM_THRESHOLD to
    "never" and M_MMAP_MAX to 0, for the whole process: what it held at its peak stays with it, for
    later use, until `malloc_trim` is called. TensorFlow undoes the first of these once, as told
    above, so a training loop calls this function when it has its first batch.

    Does nothing where glibc is not the allocator (another system, or tcmalloc or jemalloc
    preloaded), and where the environment sets MALLOC_* or GLIBC_TUNABLES.

    Args:
        one_arena: Whether all threads allocate from the same memory (M_ARENA_MAX), so that none
            keeps what another could use. Takes effect only before the process has other threads.

    Returns:
        Whether the settings were made.
    """
    if sys.platform != "linux" or any(map(_ALLOCATOR_VARIABLES.fullmatch, os.environ)):
        return False
    if _OTHER_ALLOCATORS.search(os.environ.get("LD_PRELOAD", "")):
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


def import_keras_quietly() -> None:
    """Imports Keras and its backend, without the lines that TensorFlow logs as it starts.

    Some of them (oneDNN, the processor's features, a missing CUDA) come whatever
    TF_CPP_MIN_LOG_LEVEL says, from C++, so file descriptor 2 leads to a temporary file meanwhile.
    What else was written there is written to standard error afterwards; all of it, if the import
    fails. TensorFlow's devices are initialised, too, because that logs as well.

    Does nothing if TensorFlow was imported before. Hides nothing if TF_CPP_MIN_LOG_LEVEL is set
    to 0 or 1: who does that wants to see the lines.
    """
    with _importing:
        if "tensorflow" in sys.modules:
            return
        if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
            import_module("keras")
            return
        with _without_log_lines():
            keras = import_module("keras")
            if keras.backend.backend() == "tensorflow":
                import_module("tensorflow").config.list_logical_devices()


@contextmanager
def _without_log_lines() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and drops the lines of TensorFlow's log."""
    try:
        standard_error = os.dup(2)
    except OSError:  # it is closed
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
                _write_again(caught, everything=failed)
    finally:
        os.close(standard_error)


def _flush_standard_error() -> None:
    if sys.stderr is not None and not getattr(sys.stderr, "closed", False):
        sys.stderr.flush()


def _write_again(caught: IO[bytes], everything: bool) -> None:
    caught.seek(0)
    for line in caught:
        if everything or not _LOG_LINE.match(line):
            os.write(2, line)
