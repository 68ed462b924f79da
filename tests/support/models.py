"""Models for tests: with few classes, and with zeros for kernels."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import pdanet_tf


def build(name: str, **options: Any) -> keras.Model:
    """Builds a model of 5 classes."""
    return pdanet_tf.build_model(name, **{"num_classes": 5, **options})


@contextlib.contextmanager
def zero_kernels() -> Iterator[None]:
    """Builds with kernels of zeros, which is quick, for tests that do not depend on kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.initializers.VarianceScaling,
            "__call__",
            lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype),
        )
        yield


def blank(name: str, **options: Any) -> keras.Model:
    """Builds a model of 5 classes whose kernels are zeros."""
    with zero_kernels():
        return build(name, **options)


def pictures(*shape: int) -> np.ndarray:
    """Draws images `(*shape, 3)`, uint8."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype("uint8")
