"""What the summary of a run says: its options, its machine, and its scores."""

import hashlib
import importlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from pdanet_tf.data.classes import Classes
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.inputs import Inputs
from pdanet_tf.training.run_folder import describe_config
from pdanet_tf.version import __version__

_LIBRARIES = ("tensorflow", "keras", "numpy", "PIL")


def make_summary(
    config: TrainConfig,
    inputs: Inputs,
    classes: Classes,
    devices: Sequence[str],
    kept: Mapping[str, Any],
    evaluation: Evaluation,
    seconds: float,
    steps_before: int,
) -> dict[str, Any]:
    """Returns the content of `summary.json`.

    Args:
        config: The run.
        inputs: The Python objects that the caller gave.
        classes: The classes of the training split.
        devices: Names of all devices.
        kept: What the run found out when it was new, see `Progress.origin`.
        evaluation: The scores of the best model.
        seconds: How long the last call took.
        steps_before: Number of steps that earlier calls had done.
    """
    return {
        "config": describe_config(config),
        **inputs.describe(),
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "steps_before": steps_before,
        "versions": library_versions(),
        "machine": platform.platform(),
        "devices": list(devices),
        "classes": list(classes.names),
        **kept,
        "validation": evaluation.to_dict(),
    }


def source_hash() -> str:
    """Returns a hash of the source files of pdanet_tf; those of one version may differ."""
    package, found = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + b"\0")
        found.update(path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def library_versions() -> dict[str, str]:
    """Returns the versions of what a run depends on, by name."""
    backend = keras.backend.backend()
    libraries = dict.fromkeys([*_LIBRARIES, backend])
    return {
        "python": platform.python_version(),
        "pdanet_tf": __version__,
        **{name: importlib.import_module(name).__version__ for name in libraries},
    }
