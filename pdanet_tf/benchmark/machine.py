"""The machine: its processor, the memory of a process, and environment variables."""

import contextlib
import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from pdanet_tf.base.processor import processor_name


def start_of_peak() -> float:
    """Returns unused memory to the system, and starts a new measurement of the peak.

    Returns:
        The memory in use, in MiB.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # other C libraries lack it
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the memory in use
    return process_memory("VmRSS")


def process_memory(key: str) -> float:
    """Returns the memory of this process in MiB.

    `resource.getrusage` would also count the memory of the process that started this one.

    Args:
        key: "VmRSS" for the memory in use, "VmHWM" for its peak.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {key}")


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets environment variables within the block; processes that it starts inherit them."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def describe_machine(*packages: str) -> str:
    """Returns the CPU, the number of cores, and the versions of Python and the given packages."""
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return ", ".join([processor_name(), *versions])
