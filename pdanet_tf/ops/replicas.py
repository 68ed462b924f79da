"""Sums over the replicas of a strategy, and variables that are such sums."""

from typing import Any

import keras
import numpy as np

from pdanet_tf.base.types import Tensor


def has_replicas() -> bool:
    """Returns whether this code runs on one of several replicas of a `tf.distribute` strategy."""
    return _replica_context() is not None


def count_replicas() -> int:
    """Returns the number of replicas of the strategy on one of which this code runs, or 1."""
    context = _replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


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


def assign_sum(variable: keras.Variable, value: np.ndarray) -> None:
    """Assigns a value to a variable of which each replica has a part, such as that of a metric.

    The first replica gets the whole value, the others 0, also those of other processes. (TensorFlow
    would divide the value by the number of replicas, which rounds counts of pixels.)

    Args:
        variable: The variable; reading it outside of a replica returns the sum of its parts.
        value: The sum.
    """
    if keras.backend.backend() != "tensorflow":
        variable.assign(value)
        return
    # A variable of one device is its own only part.
    first, *others = getattr(variable.value, "values", [variable.value])
    strategy = getattr(variable.value, "distribute_strategy", None)
    resolver = None if strategy is None else strategy.cluster_resolver
    is_first_process = resolver is None or not resolver.task_id
    first.assign(value if is_first_process else np.zeros_like(value))
    for part in others:
        part.assign(np.zeros_like(value))


def _replica_context() -> Any:
    """Returns TensorFlow's context of the current replica; None if there are not several."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context
