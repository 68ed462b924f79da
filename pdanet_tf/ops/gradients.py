"""Functions with a gradient of their own."""

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

import keras
from keras import ops


def call_with_gradient(
    function: Callable[..., tuple[Any, Any]], *tensors: Any, **options: Hashable
) -> Any:
    """Calls a function that says what its gradient is, as for `keras.ops.custom_gradient`.

    TensorFlow keeps every custom gradient of every graph as long as the process lives, and by it
    the graph and the variables of its model. There the function has a graph of its own, which
    holds nothing else and serves all models.

    Args:
        function: A function of a module, of tensors and options. It returns its result and the
            gradient's function, and relies on no size of the tensors but the last.
        tensors: What it is differentiated by.
        options: What it is not.

    Returns:
        The function's result.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.custom_gradient(partial(function, **options))(*tensors)
    tensors = tuple(ops.convert_to_tensor(x) for x in tensors)
    kinds = tuple((len(x.shape), x.shape[-1], x.dtype) for x in tensors)
    return _graph(function, kinds, tuple(options.items()))(*tensors)


@cache
def _graph(
    function: Callable[..., tuple[Any, Any]],
    kinds: tuple[tuple[int, int, Any], ...],
    options: tuple[tuple[str, Hashable], ...],
) -> Callable[..., Any]:
    """Makes TensorFlow's graph of a function of tensors of some ranks, last sizes and dtypes."""
    import tensorflow as tf

    def graph(*tensors: Any) -> tuple[Any, Any]:
        return function(*tensors, **dict(options))

    signature = [
        tf.TensorSpec((None,) * (rank - 1) + (last,), dtype) for rank, last, dtype in kinds
    ]
    return tf.function(tf.custom_gradient(graph), input_signature=signature, autograph=False)
