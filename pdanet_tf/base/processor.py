"""The names and features of the processors."""

import os
import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")  # a folder for each, with a file "information"
# Flags of x86 and of ARM ("Features") that indicate arithmetic in a dtype.
_NATIVE = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}
_VECTORS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"), ("asimd", "NEON"))


def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """Returns the processor's flags as Linux names them; an empty set on other systems."""
    try:
        text = cpuinfo.read_text("utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """Returns the name of the CPU and its number of cores, such as "AMD EPYC, 2 cores"."""
    name = platform.processor() or platform.machine()
    if cpuinfo.is_file():
        text = cpuinfo.read_text("utf-8", errors="replace")
        found = re.search(r"^model name\s*:[ \t]*(.*\S)", text, re.MULTILINE)
        name = found[1] if found else name
    return f"{name}, {os.cpu_count()} cores"


def gpu_name(folder: Path = _GPUS) -> str:
    """Returns the name of the first GPU, such as "NVIDIA H100 80GB HBM3"; "GPU" if not known."""
    for file in sorted(folder.glob("*/information")):
        found = re.search(r"^Model:\s*(.*\S)", file.read_text("utf-8", "replace"), re.MULTILINE)
        if found:
            return found[1]
    return "GPU"


def describe_processor(flags: frozenset[str] | None = None) -> str:
    """Returns the processor's features, such as "x86_64 with AVX2, without bfloat16"."""
    flags = processor_flags() if flags is None else flags
    vectors = next((name for flag, name in _VECTORS if flag in flags), None)
    if vectors is None:
        return platform.machine() or "unknown processor"
    has = [vectors, *(name for name, native in _NATIVE.items() if native & flags)]
    lacks = [name for name, native in _NATIVE.items() if not native & flags]
    text = f"{platform.machine()} with {', '.join(has)}"
    return f"{text}, without {' and '.join(lacks)}" if lacks else text


def slow_precision(
    precision: str | None, training: bool = False, flags: frozenset[str] | None = None
) -> str | None:
    """Returns a note if a precision is slow on this processor. It does not apply to GPUs.

    Args:
        precision: One of `pdanet_tf.base.choices.PRECISIONS`; None for float32.
        training: Whether a model is trained.
        flags: Flags of the processor; by default those of this machine.

    Returns:
        The note; None if the processor computes in that precision, or if its flags are unknown.
    """
    dtype = (precision or "float32").removeprefix("mixed_")
    flags = processor_flags() if flags is None else flags
    if dtype not in _NATIVE or not flags or _NATIVE[dtype] & flags:
        return None
    cost = f"{'training' if training else 'inference'} is slower"
    if training and dtype == "bfloat16":
        cost = "training was eleven times slower"  # as reported, with AVX2 alone
    return (
        f"{precision}: {cost} than in float32 on a processor like this one, which does not compute "
        f"in {dtype} ({describe_processor(flags)}). Use float32 here."
    )
