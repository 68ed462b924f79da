"""Stored logits of other packages, and checkpoints with the weights that computed them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.state_dict import draw

GOLDEN = Path(__file__).parent.parent / "golden"
STEP = 3  # of the stored logits, in rows and columns


def stored_case(package: str, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the state dict of a network, and its stored logits by output and size."""
    with np.load(GOLDEN / package / f"{name}.npz") as file:
        values = dict(file)
    shapes = json.loads(str(values.pop("shapes")))
    state = {key: np.asarray(value) for key, value in draw(shapes).items()}
    return state, values


def differences(model: Any, values: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the largest difference of a model's outputs from the stored ones, by their key."""
    found = {}
    for key, expected in values.items():
        output, _, size = key.rpartition("_")
        height, width = map(int, size.split("x"))
        images = np.random.default_rng(height).standard_normal((1, height, width, 3))
        outputs = model(images.astype("float32"))
        if isinstance(outputs, dict):
            outputs = outputs[output]
        elif output != "logits":
            continue
        computed = np.asarray(outputs)[:, ::STEP, ::STEP]
        found[key] = float(np.abs(computed - expected).max())
    return found
