"""Graphs that other runtimes can run."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pdanet_tf.ops.portable import plain_operations


def trace_plain(function: Callable[[tf.Tensor], Any], signature: tf.TensorSpec) -> Any:
    """Traces a function of one tensor without the optimised kernels.

    Args:
        function: The function. It returns a dict of tensors.
        signature: Shape, dtype and name of the tensor.

    Returns:
        A concrete function of TensorFlow.
    """
    with plain_operations():
        return tf.function(function, input_signature=[signature]).get_concrete_function()
