"""Segmenters of KerasHub and KerasCV, as models from pixels to logits."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.models.inspection import find_logits

# The classes by package. If a model is an instance of one, its package has been imported.
_CLASSES = {"keras_hub": ("ImageSegmenter",), "keras_cv": ("DeepLabV3Plus", "SegFormer")}
# The backbones of both packages halve an image five times at most. Their upsampling multiplies
# sizes, so it returns the size of the image only for multiples of this.
_MULTIPLE = 32
_SMALLEST = 1e-37  # probability, whose logarithm is finite
# Layers behind the one that decides what the scores are.
_KEEP_MEANING = (keras.layers.Resizing, keras.layers.UpSampling2D, keras.layers.Dropout)
_GRAPHS_KEPT = 8


def is_segmenter(model: keras.Model) -> bool:
    """Returns whether a model is a segmenter of KerasHub or of KerasCV."""
    for package, names in _CLASSES.items():
        if package in sys.modules:
            models = sys.modules[package].models
            if isinstance(model, tuple(getattr(models, name) for name in names)):
                return True
    return False


def as_pixel_model(model: keras.Model) -> keras.Model:
    """Turns a segmenter of KerasHub or KerasCV into a model from pixels to logits.

    The preprocessor of a KerasHub segmenter is part of the result: its image size, scale and
    offset. The whole image is resized to that size; KerasHub itself cuts the image to the aspect
    ratio of that size by default. Without a preprocessor, and for KerasCV, pixels from 0 to 255 are
    passed on, as `predict` of the segmenter does.

    Args:
        model: A segmenter from `(batch, height, width, channels)` to logits, or to probabilities of
            a softmax, of whose logarithm the softmax is the same.

    Returns:
        A functional model that shares its variables with `model`.

    Raises:
        ValueError: If the model does not map one image to scores of classes, or its last activation
            is neither linear nor softmax.
    """
    find_logits(model, repr(model.name))
    activation = _last_activation(model)
    if activation not in (None, keras.activations.linear, keras.activations.softmax):
        name = getattr(activation, "__name__", str(activation))
        raise ValueError(
            f"A segmenter must return logits or the probabilities of a softmax. Received: "
            f"{model.name!r}, whose last activation is {name!r}"
        )
    *sides, channels = model.inputs[0].shape[1:]
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    size = sides if None not in sides else getattr(converter, "image_size", None)
    images = keras.Input((None, None, channels), name="image")
    x = images
    if size is not None:
        interpolation = getattr(converter, "interpolation", "bilinear")
        antialias = getattr(converter, "antialias", False)
        x = keras.layers.Resizing(*size, interpolation=interpolation, antialias=antialias)(x)
    scale, offset = getattr(converter, "scale", None), getattr(converter, "offset", None)
    if scale is not None or offset is not None:
        scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
        x = keras.layers.Rescaling(scale, offset)(x)
    scores = model(x)
    if activation is keras.activations.softmax:
        scores = ops.log(ops.maximum(scores, _SMALLEST))
    return keras.Model(images, scores, name=model.name)


def _last_activation(model: keras.Model) -> Any:
    """Returns the activation of the layer that computes the scores; None if it has none."""
    for layer in reversed(model.layers):
        if isinstance(layer, keras.Model):
            return _last_activation(layer)
        if isinstance(layer, keras.layers.Softmax):
            return keras.activations.softmax
        if not isinstance(layer, _KEEP_MEANING):
            return getattr(layer, "activation", None)
    return None


def logits_function(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that computes the logits of images of any size.

    If the model resizes the images itself, its logits lie over the whole image. Otherwise the
    images are padded at the bottom and at the right to multiples of 32, with copies of their edges,
    and the logits are cut to the size of the images. On TensorFlow there is one graph for each
    size, because `UpSampling2D` does not run in a graph for all sizes; the last eight are kept.

    Args:
        model: What `as_pixel_model` returns.
    """

    def compute(images: Tensor) -> Tensor:
        return ops.cast(model(images, training=False), "float32")

    @functools.lru_cache(maxsize=_GRAPHS_KEPT)
    def compiled(shape: tuple[int, ...]) -> Callable[..., Tensor]:
        if keras.backend.backend() != "tensorflow":
            return compute
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, "float32")]
        graph = tf.function(compute, input_signature=signature).get_concrete_function()
        return lambda images: graph(tf.convert_to_tensor(images, "float32"))

    multiple = _MULTIPLE if None in model.output.shape[1:3] else 1

    def call(images: np.ndarray) -> np.ndarray:
        height, width = images.shape[1:3]
        below, right = -height % multiple, -width % multiple
        padded = np.pad(images, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")
        logits = ops.convert_to_numpy(compiled(padded.shape)(padded))
        if multiple == 1:
            return logits
        if logits.shape[1:3] != padded.shape[1:3]:
            raise ValueError(
                f"The model {model.name!r} returns scores of {logits.shape[1]} x {logits.shape[2]} "
                f"for an image of {padded.shape[1]} x {padded.shape[2]}, expected the same size"
            )
        return logits[:, :height, :width]

    return call
