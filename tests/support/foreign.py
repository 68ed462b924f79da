"""Networks of other packages, for tests that compare ours with them."""

import functools
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@functools.cache
def _declare_operators() -> None:
    import torch

    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            signature = "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)


def import_torchvision(module: str = "torchvision.models") -> ModuleType:
    """Imports a module of torchvision, or skips the test.

    The compiled operators of torchvision's wheel require PyTorch with CUDA. Without it, torchvision
    fails on import, because it describes two of its operators. Networks need none of them.
    """
    pytest.importorskip("torch", reason="compares with PyTorch")
    _declare_operators()
    return pytest.importorskip(module, reason="compares with torchvision")


def with_random_statistics(network: Any, seed: int = 0) -> Any:
    """Draws random parameters and statistics of batch norm, and returns it for inference."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def run(network: Any, images: np.ndarray) -> Any:
    """Runs a network on images `(batch, height, width, channels)`; its outputs keep this layout."""
    import torch

    with torch.no_grad():
        outputs = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    if isinstance(outputs, dict):
        return {name: output.numpy().transpose(0, 2, 3, 1) for name, output in outputs.items()}
    return outputs.numpy().transpose(0, 2, 3, 1)


def draw_images(*size: int) -> np.ndarray:
    """Draws two normalised images `(2, *size, 3)`."""
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
