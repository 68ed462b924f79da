"""Dtypes where half precision is not accurate enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras import ops

from pdanet_tf.base.types import Tensor


def full_precision_dtype(dtype: str) -> str:
    """Returns float64 for float64, and float32 for everything else."""
    return "float64" if dtype == "float64" else "float32"


def full_precision(tensor: Tensor) -> Tensor:
    """Casts a tensor to float32, or leaves it unchanged if it is float64."""
    return ops.cast(tensor, full_precision_dtype(keras.backend.standardize_dtype(tensor.dtype)))


@contextmanager
def dtype_policy(policy: str | None) -> Iterator[None]:
    """Sets Keras' dtype policy inside the block, and restores the previous one afterwards.

    Layers that are created without a `dtype` take this policy. Keras keeps it separately for every
    thread, so threads that build models of different policies at the same time do not affect each
    other. A thread starts with the policy of `keras.config.floatx()`, whatever other threads have
    set.

    Args:
        policy: A Keras dtype policy, such as `"mixed_bfloat16"`; None keeps the current one.
    """
    previous = keras.config.dtype_policy()
    try:
        if policy is not None:
            keras.config.set_dtype_policy(policy)
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@contextmanager
def full_precision_floatx() -> Iterator[None]:
    """Sets Keras' default dtype to at least float32 in the block, and restores the previous one.

    Keras keeps the learning rate's count of steps and the sum of an epoch's losses in the default
    dtype. In float16 such a counter stops at 2048.
    """
    previous = keras.config.floatx()
    try:
        keras.config.set_floatx(full_precision_dtype(previous))
        yield
    finally:
        keras.config.set_floatx(previous)
