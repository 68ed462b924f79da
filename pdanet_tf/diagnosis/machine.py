"""The memory, the disk and the environment of the process."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pdanet_tf.base.download import keras_home
from pdanet_tf.diagnosis.finding import Finding

GIB = 2**30
_LEAST_MEMORY = 3 * GIB  # importing TensorFlow takes 0.5 GiB, a small training run 2 GiB more
_LEAST_DISK = GIB  # checkpoints of a run: twice the weights, and once more the optimizer
_LEAST_SHARED = 256 * 2**20  # that NCCL uses between several GPUs; containers often have 64 MiB


def find_memory(root: Path = Path("/")) -> dict[str, int]:
    """Returns "total", "available" and, in a container with a limit, "limit" and "used", in bytes.

    Args:
        root: Folder that contains `proc` and `sys`.
    """
    found = {}
    text = _read(root / "proc/meminfo")
    for name, key in (("total", "MemTotal"), ("available", "MemAvailable")):
        if line := re.search(rf"^{key}:\s*(\d+) kB", text, re.MULTILINE):
            found[name] = 1024 * int(line[1])
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        value, current = _read(root / limit).strip(), _read(root / used).strip()
        # Without a limit, version 2 of control groups says "max", and version 1 a huge number.
        if value.isdigit() and int(value) < found.get("total", 2**62):
            found["limit"] = int(value)
            found["used"] = int(current) if current.isdigit() else 0
            break
    return found


def usable_memory(memory: Mapping[str, int]) -> int | None:
    """Returns the bytes that a new process can take; None if this system does not say."""
    if "limit" in memory:
        return min(memory["limit"] - memory["used"], memory.get("available", memory["limit"]))
    return memory.get("available")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_memory(memory: Mapping[str, int]) -> Iterator[Finding]:
    """Yields a finding if the memory that is left is too small to train.

    Args:
        memory: What `find_memory` returned.
    """
    usable = usable_memory(memory)
    if usable is not None and usable < _LEAST_MEMORY:
        whose = "this container may still take" if "limit" in memory else "is available"
        yield Finding(
            "warning",
            f"{usable / GIB:.1f} GiB of memory {whose}; the system ends a process that takes more, "
            "without a message (Killed, exit status 137)",
            "End other processes, or raise the limit (docker run --memory 8g)",
        )


def check_folders() -> Iterator[Finding]:
    """Yields findings about folders that cannot be written to, or are full."""
    home = keras_home()
    if not _is_writable(home):
        yield Finding(
            "warning",
            f"{home} cannot be written to, so weights cannot be downloaded, nor class frequencies "
            "kept",
            "Set KERAS_HOME to a folder that can: export KERAS_HOME=/tmp/keras",
        )
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as error:
        yield Finding("broken", f"No temporary folder can be written to: {error}", "Set TMPDIR")
    else:
        for folder in dict.fromkeys((os.getcwd(), temporary)):
            free = shutil.disk_usage(folder).free
            if free < _LEAST_DISK:
                yield Finding(
                    "warning",
                    f"{free / GIB:.1f} GiB of disk are free at {folder}; a run of pdanet_resnet18 "
                    "writes 0.4 GB of checkpoints",
                    "Remove what is not needed, or use a folder of another disk",
                )


def _is_writable(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def check_shared_memory(gpus: int, folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Yields a finding if there are several GPUs and too little shared memory between them.

    Args:
        gpus: Number of GPUs.
        folder: The file system of shared memory.
    """
    if gpus > 1 and folder.is_dir():
        total = shutil.disk_usage(folder).total
        if total < _LEAST_SHARED:
            yield Finding(
                "warning",
                f"{folder} has {total / 2**20:.0f} MiB, which several GPUs share for their sums",
                "Start the container with docker run --shm-size 1g",
            )
