"""Writes the golden values of segmentation_models.pytorch: `python -m tests.golden.smp.write`.

It requires segmentation_models_pytorch 0.6.0, timm, torchvision and PyTorch.
"""

import json
from pathlib import Path

import numpy as np

from tests.support.smp_networks import (
    CASES,
    SIZES,
    STEP,
    import_package,
    logits_of,
    network,
    shapes_of,
)

FOLDER = Path(__file__).parent


def write(package, name):
    """Writes the names and shapes of a network's weights, and its logits."""
    made = network(package, name)
    arrays = {}
    for height, width in SIZES:
        stored = logits_of(made, height, width)[:, ::STEP, ::STEP]
        arrays[f"logits_{height}x{width}"] = stored
        print(name, height, width, f"largest {np.abs(stored).max():.1f}")
    np.savez_compressed(FOLDER / f"{name}.npz", shapes=json.dumps(shapes_of(made)), **arrays)


if __name__ == "__main__":
    smp = import_package()
    for case in CASES:
        write(smp, case)
