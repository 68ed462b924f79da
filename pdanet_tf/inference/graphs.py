"""The computations of a predictor, as graphs of TensorFlow if that is Keras' backend."""

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.models.inspection import count_channels, count_classes, logits_of


def compile_network(
    model: keras.Model,
) -> tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor]]:
    """Returns three functions: images to logits, logits to resized logits, logits to probabilities.

    The second and the third also take the matrices that interpolate rows and columns.

    Args:
        model: A model from pixels `(batch, height, width, channels)` to logits, or to a dict with
            "logits".
    """

    def compute_logits(images: Tensor) -> Tensor:
        logits = logits_of(model(images, training=False))
        return ops.cast(logits, "float32")  # from float64

    def interpolate(logits: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
        batch, height, width, channels = ops.shape(logits)
        x = ops.reshape(ops.cast(logits, "float32"), (batch, height, width * channels))
        x = ops.reshape(ops.matmul(vertical, x), (batch, -1, width, channels))
        return ops.matmul(horizontal, x)

    def compute_probabilities(logits: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
        x = interpolate(logits, vertical, horizontal)
        # `softmax` warns if there is a single class.
        return ops.softmax(x, axis=-1) if x.shape[-1] > 1 else ops.ones_like(x)

    if keras.backend.backend() != "tensorflow":
        return compute_logits, interpolate, compute_probabilities
    import tensorflow as tf

    # Each function has one graph for images of all sizes.
    images = tf.TensorSpec((None, None, None, count_channels(model)), "float32")
    logits = tf.TensorSpec((None, None, None, count_classes(model)), "float32")
    matrix = tf.TensorSpec((None, None), "float32")
    return (
        _graph(compute_logits, images),
        _graph(interpolate, logits, matrix, matrix),
        _graph(compute_probabilities, logits, matrix, matrix),
    )


def _graph(function: Callable[..., Tensor], *signature: Any) -> Callable[..., Tensor]:
    """Returns a function that runs as one TensorFlow graph, traced at the first call.

    `tf.function` itself would warn about retracing from the third predictor on, because it
    treats the functions of all predictors as one function.
    """
    import tensorflow as tf

    @functools.cache
    def trace() -> Any:
        return tf.function(function, input_signature=signature).get_concrete_function()

    def call(*tensors: Tensor) -> Tensor:
        return trace()(
            *(tf.convert_to_tensor(x, s.dtype) for x, s in zip(tensors, signature, strict=True))
        )

    return call
