"""Writes the golden values of segmentation_models.pytorch: `python -m tests.golden.smp.write`.

It requires segmentation_models_pytorch 0.6.0, timm, torchvision and PyTorch.
"""

import json
from pathlib import Path

import numpy as np

from tests.support.foreign import import_torchvision, run
from tests.support.smp_networks import CASES, SIZES, STEP, images, network, shapes_of

FOLDER = Path(__file__).parent


def write(package, name):
    """Writes the names and shapes of a network's weights, and its logits."""
    made = network(package, name)
    arrays = {}
    for height, width in SIZES:
        stored = run(made, images(height, width))[:, ::STEP, ::STEP]
        arrays[f"logits_{height}x{width}"] = stored
        print(name, height, width, f"largest {np.abs(stored).max():.1f}")
    np.savez_compressed(FOLDER / f"{name}.npz", shapes=json.dumps(shapes_of(made)), **arrays)


if __name__ == "__main__":
    smp = import_torchvision("segmentation_models_pytorch")
    for case in CASES:
        write(smp, case)
