"""Where half precision is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


def full_precision_dtype(dtype: str) -> str:
    """Returns float64 for float64, and float32 for everything else."""
    return "float64" if dtype == "float64" else "float32"


def full_precision(tensor: Any) -> Any:
    """Casts to float32, and leaves float64 as it is."""
    return ops.cast(tensor, full_precision_dtype(keras.backend.standardize_dtype(tensor.dtype)))


@contextmanager
def dtype_policy(policy: str | None) -> Iterator[None]:
    """Sets the policy that layers are created with, and puts back the former one."""
    former = keras.config.dtype_policy()
    try:
        if policy is not None:
            keras.config.set_dtype_policy(policy)
        yield
    finally:
        keras.config.set_dtype_policy(former)


@contextmanager
def full_precision_floatx() -> Iterator[None]:
    """Has what Keras keeps in its default dtype in at least float32, and puts back the former one.

    These are the learning rate, which counts steps, and the sum of the losses of an epoch: half
    precision stops counting at 2048.
    """
    former = keras.config.floatx()
    try:
        keras.config.set_floatx(full_precision_dtype(former))
        yield
    finally:
        keras.config.set_floatx(former)
