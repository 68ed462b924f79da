"""Deterministic stand-ins for the published PyTorch checkpoints.

The checkpoints of the reference PyTorch models cannot be downloaded here, so
each golden file was computed with weights drawn from the parameter's own name:
anyone can draw the same weights again, and no weight has to be stored.

    layout = json.load(open("pdanet.json"))       # {"encoder": {name: shape}, "decoder": {...}}
    encoder = draw(layout["encoder"])             # {name: float32 array, PyTorch layout}
    decoder = draw(layout["decoder"])
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def draw(shapes: Mapping[str, Sequence[int]], salt: str = "") -> dict[str, np.ndarray]:
    """Draws one float32 array per entry of `shapes` ({name: shape}).

    Names and shapes are those of a PyTorch state dict: convolution kernels are
    (out, in, kernel_height, kernel_width), batch norm has weight, bias,
    running_mean and running_var, and attention modules a `gamma` of shape (1,).
    """
    return {name: _draw_one(name, tuple(shape), salt) for name, shape in shapes.items()}


def _draw_one(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32((salt + name).encode()))
    if name.endswith("gamma"):
        array = rng.uniform(0.3, 0.8, shape)
    elif name.endswith("running_var"):
        array = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean") or name.endswith("bias"):
        array = 0.1 * rng.standard_normal(shape)
    elif len(shape) == 1:  # batch norm weight
        array = rng.uniform(0.5, 1.5, shape)
    else:
        fan_in = int(np.prod(shape[1:]))
        array = np.sqrt(1.0 / fan_in) * rng.standard_normal(shape)
    return array.astype("float32")
