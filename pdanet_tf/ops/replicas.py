"""Sums over the replicas of a strategy."""

import keras

from pdanet_tf.base.types import Tensor


def sum_over_replicas(tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor over all replicas of the current `tf.distribute` strategy.

    Outside a replica, on one replica and on other backends it returns the tensor itself. The
    gradient is the sum of the gradients of all replicas.
    """
    if keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
