"""The devices that TensorFlow finds, and what keeps it from finding others."""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pdanet_tf.base.choices import BACKENDS
from pdanet_tf.base.processor import processor_flags
from pdanet_tf.diagnosis.finding import Finding
from pdanet_tf.diagnosis.packages import installed_version

_DRIVER = Path("/proc/driver/nvidia/version")
_SECONDS = 300  # for an import on a machine that is busy
_REINSTALL = "Install it again: pip install --force-reinstall tensorflow"


def run_probe() -> dict[str, Any]:
    """Runs `pdanet_tf.diagnosis.probe` in a process of its own.

    Returns:
        What it found. If the process crashed, "errors" has the reason for "tensorflow".
    """
    command = [sys.executable, "-m", "pdanet_tf.diagnosis.probe"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    except subprocess.TimeoutExpired:
        return {"errors": {"tensorflow": f"no answer within {_SECONDS} seconds"}}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"errors": {"tensorflow": _describe_end(done.returncode, done.stderr)}}


def _describe_end(code: int, output: str) -> str:
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no message")
    if code < 0:
        return f"the process crashed ({signal.Signals(-code).name}): {last}"
    return f"the process ended with status {code}: {last}"


def check_imports(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Yields findings about imports that failed, and about the backend of Keras.

    Args:
        found: What `run_probe` returned.
    """
    flags = processor_flags()
    for name, error in found["errors"].items():
        remedy = _REINSTALL.replace("tensorflow", name)
        if installed_version(name) is None and "No module named" in error:
            remedy = f"pip install {name}"
        elif name == "tensorflow" and platform.machine() == "x86_64" and flags - {"avx"} == flags:
            remedy = "TensorFlow's wheels require a processor with AVX, which this one lacks"
        elif name == "keras" and "backend" in error.lower():
            remedy = f"Set KERAS_BACKEND to one of {', '.join(BACKENDS)}"
        yield Finding("broken", f"{name} cannot be imported: {error}", remedy)
    backend = found.get("backend")
    if backend is not None and backend != "tensorflow":
        trains = (
            "" if backend == "jax" else "training by pdanet-tf requires TensorFlow or JAX, and "
        )
        yield Finding(
            "warning",
            f"Keras' backend is {backend}: models run, but {trains}exports to SavedModel require "
            "TensorFlow",
            "For these, set KERAS_BACKEND=tensorflow, or remove the backend from keras.json",
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "0") not in ("", "0", "false", "False"):
        yield Finding(
            "warning",
            "TF_USE_LEGACY_KERAS is set, so tf.keras is Keras 2, whose layers and models do not "
            "work with those of this package",
            "Unset TF_USE_LEGACY_KERAS, and import keras instead of tf.keras",
        )


def check_gpus(found: Mapping[str, Any], driver: Path = _DRIVER) -> Iterator[Finding]:
    """Yields a finding if there is an NVIDIA driver, and TensorFlow finds no GPU.

    Args:
        found: What `run_probe` returned.
        driver: The file that exists if the driver is loaded.
    """
    if not driver.exists() or found.get("gpus") or "tensorflow" in found["errors"]:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        remedy = f"CUDA_VISIBLE_DEVICES={visible!r} hides all GPUs: unset it"
    elif found.get("cuda") is None:
        remedy = (
            "This TensorFlow was built without CUDA: pip uninstall -y tensorflow-cpu; then "
            "pip install 'pdanet_tf[gpu]'"
        )
    else:
        remedy = "Install CUDA's libraries: pip install 'pdanet_tf[gpu]'"
    yield Finding("warning", "There is an NVIDIA GPU, but TensorFlow finds none", remedy)
