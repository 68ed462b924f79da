"""The report of `pdanet-tf doctor`."""

import dataclasses
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdanet_tf.base.catalog import FAMILIES
from pdanet_tf.base.processor import describe_processor, slow_precision
from pdanet_tf.base.startup import allocator_variables
from pdanet_tf.diagnosis import devices, machine, packages
from pdanet_tf.diagnosis.finding import Finding
from pdanet_tf.files import whole_file

_VERSIONS = ("pdanet_tf", "tensorflow", "keras", "numpy", "protobuf", "tensorflow-datasets")
# Of a training step of PDANet in float32 on a CPU, beyond weights and momentum: 251 MiB for one
# image of 304 x 400, see docs/performance.md.
_STEP_BYTES_PER_PIXEL = 251 * 2**20 / (304 * 400)
_CROP = 512 * 512  # pixels of the default crop of a folder


@dataclass(frozen=True)
class Diagnosis:
    """What is installed, what the machine has, and what is wrong.

    Attributes:
        python: Version of Python.
        versions: Versions of the packages by name; None if one is not installed.
        extras: The packages of each extra with their versions; None if one is not installed.
        backend: The backend of Keras; None if Keras cannot be imported.
        cuda: Version of CUDA that TensorFlow was built with, or None.
        gpus: The GPUs that TensorFlow finds, each with "name" and "capability".
        seconds: Time of importing TensorFlow and Keras; None if that failed.
        processor: Its features.
        cores: Number of cores that this process may use.
        memory: "total", "available", and the "limit" of a container with what is "used" of it, in
            bytes.
        allocator: Variables of the environment that configure the allocator.
        findings: What is wrong, what is broken first.
    """

    python: str
    versions: dict[str, str | None]
    extras: dict[str, dict[str, str | None]]
    backend: str | None
    cuda: str | None
    gpus: list[dict[str, Any]]
    seconds: float | None
    processor: str
    cores: int
    memory: dict[str, int]
    allocator: list[str]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.severity != "broken" for finding in self.findings)

    def lines(self) -> Iterator[str]:
        """Yields the lines of the report."""
        yield f"Python {self.python} on {platform.system()} {platform.machine()}"
        yield ", ".join(f"{name} {found or 'missing'}" for name, found in self.versions.items())
        installed = [name for name, found in self.extras.items() if all(found.values())]
        missing = [name for name in self.extras if name not in installed]
        yield f"Extras: {_list(installed)}; not installed: {_list(missing)}"
        yield f"Keras' backend: {self.backend or 'none, because Keras cannot be imported'}"
        if self.seconds is not None:
            yield f"Importing TensorFlow and Keras takes {self.seconds:.0f} s on this machine now"
        yield f"Processor: {self.cores} cores, {self.processor}"
        built = f"TensorFlow was built with CUDA {self.cuda}" if self.cuda else "no CUDA"
        yield f"GPUs: {_list([gpu['name'] for gpu in self.gpus])} ({built})"
        yield f"Memory: {self._describe_memory()}"
        if self.allocator:
            yield f"Allocator: configured by {_list(self.allocator)}"
        else:
            yield "Allocator: not configured, so pdanet-tf and train keep freed memory"
        yield from self._describe_needs()
        yield ""
        yield from map(str, self.findings)
        count = sum(finding.severity == "broken" for finding in self.findings)
        yield f"Broken: {count}. Warnings: {len(self.findings) - count}."

    def _describe_memory(self) -> str:
        if not self.memory:
            return "unknown on this system"
        names = {"total": "in all", "available": "available", "limit": "limit of this container"}
        return ", ".join(
            f"{self.memory[name] / machine.GIB:.1f} GiB {text}"
            for name, text in names.items()
            if name in self.memory
        )

    def _describe_needs(self) -> Iterator[str]:
        weights = 4 * (FAMILIES["pdanet"].parameters["resnet18"] or 0)
        step = _STEP_BYTES_PER_PIXEL * _CROP
        yield (
            f"Training pdanet_resnet18 in float32: {3 * weights / machine.GIB:.1f} GiB for "
            f"weights, gradients and momentum, and about {step / machine.GIB:.1f} GiB for each "
            "image of 512 x 512 in a batch (from a step that was measured with 304 x 400)"
        )
        usable = machine.usable_memory(self.memory)
        if usable is not None and not self.gpus:
            # TensorFlow itself takes about half a GiB.
            room = int((usable - 3 * weights - machine.GIB / 2) / step)
            yield f"Batches of that size that fit: up to about {max(room, 0)} images"
        slow = None if self.gpus else slow_precision("mixed_bfloat16", training=True)
        if slow:
            yield f"Note: {slow}"

    def save(self, path: str) -> None:
        """Writes everything as JSON."""
        content = {**dataclasses.asdict(self), "usable": self.usable}
        with whole_file(Path(path)) as temporary:
            Path(temporary).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


def diagnose() -> Diagnosis:
    """Examines the installation and the machine.

    Keras and TensorFlow are imported in a process of their own, which takes most of the time.
    """
    found = devices.run_probe()
    memory = machine.find_memory()
    gpus = found.get("gpus", [])
    findings = [
        *packages.check_python(),
        *devices.check_imports(found),
        *packages.check_requirements(),
        *packages.check_twins(),
        *devices.check_gpus(found),
        *machine.check_memory(memory),
        *machine.check_folders(),
        *machine.check_shared_memory(len(gpus)),
    ]
    return Diagnosis(
        python=platform.python_version(),
        versions={name: packages.installed_version(name) for name in _VERSIONS},
        extras=packages.find_extras(),
        backend=found.get("backend"),
        cuda=found.get("cuda"),
        gpus=gpus,
        seconds=None if found["errors"] else found["seconds"],
        processor=describe_processor(),
        cores=machine.count_cores(),
        memory=memory,
        allocator=allocator_variables(),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
    )
