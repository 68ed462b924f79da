"""Random label maps with logits, and their cross-entropy."""

import numpy as np


def random_batch(
    num_classes: int = 4, batch: int = 3, size: tuple[int, int] = (5, 7), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, (batch, *size))
    labels[rng.random(labels.shape) < 0.2] = 255
    return labels, rng.standard_normal((batch, *size, num_classes)).astype("float32")


def plain_cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    valid = labels != 255
    picked = np.take_along_axis(shares, np.where(valid, labels, 0)[..., None], -1)[..., 0]
    return -np.log(picked[valid]).mean()
