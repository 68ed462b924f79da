"""Functions with a gradient of their own."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor


def call_with_gradient(
    function: Callable[..., tuple[Tensor, Callable[[Tensor], Any]]],
    *tensors: Tensor,
    **options: Hashable,
) -> Tensor:
    """Calls a function that defines its own gradient, as for `keras.ops.custom_gradient`.

    TensorFlow keeps every custom gradient of every graph until the process ends, and with it the
    graph and the variables of the model. Under TensorFlow the function therefore gets a graph of
    its own, which holds nothing else and is shared by all models.

    Args:
        function: A module-level function of tensors and options. It returns its result and the
            gradient function, and may use the static size of the last axis only.
        *tensors: Arguments with respect to which the function is differentiated.
        **options: Arguments without a gradient.

    Returns:
        The result of the function.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.custom_gradient(partial(function, **options))(*tensors)
    tensors = tuple(ops.convert_to_tensor(x) for x in tensors)
    kinds = tuple((len(x.shape), x.shape[-1], x.dtype) for x in tensors)
    return _graph(function, kinds, tuple(options.items()))(*tensors)


@cache
def _graph(
    function: Callable[..., tuple[Tensor, Callable[[Tensor], Any]]],
    kinds: tuple[tuple[int, int, Any], ...],
    options: tuple[tuple[str, Hashable], ...],
) -> Callable[..., Tensor]:
    """Returns TensorFlow's graph of a function.

    Args:
        function: See `call_with_gradient`.
        kinds: Rank, last size and dtype of each tensor.
        options: Name and value of each option.
    """
    import tensorflow as tf

    def graph(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        return function(*tensors, **dict(options))

    signature = [
        tf.TensorSpec((None,) * (rank - 1) + (last,), dtype) for rank, last, dtype in kinds
    ]
    return tf.function(tf.custom_gradient(graph), input_signature=signature, autograph=False)
