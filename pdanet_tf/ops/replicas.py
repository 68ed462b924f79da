"""Sums over the replicas of a strategy."""

from typing import Any

import keras

from pdanet_tf.base.types import Tensor


def has_replicas() -> bool:
    """Returns whether this code runs on one of several replicas of a `tf.distribute` strategy."""
    return _replica_context() is not None


def sum_over_replicas(tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor over all replicas of the current `tf.distribute` strategy.

    Outside a replica, on one replica and on other backends it returns the tensor itself. The
    gradient is the sum of the gradients of all replicas.
    """
    context = _replica_context()
    if context is None:
        return tensor
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


def _replica_context() -> Any:
    """Returns TensorFlow's context of the current replica; None if there are not several."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context
