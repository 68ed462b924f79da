"""What the benchmarks say of the machine that they ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """Returns the CPU, its cores, and the versions of Python and of the packages named."""
    cpu, file = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if file.is_file():
        lines = (line.partition(":") for line in file.read_text("utf-8").splitlines())
        cpu = next((value.strip() for key, _, value in lines if key.strip() == "model name"), cpu)
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return ", ".join([cpu, f"{os.cpu_count()} cores", *versions])
