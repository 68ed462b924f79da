"""Dilated context networks (Yu and Koltun 2015, "Multi-Scale Context Aggregation")."""

import functools
from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones import vgg16
from pdanet_tf.layers import Classifier, ContextModule
from pdanet_tf.layers.initializers import head_kernel
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import hidden_conv, segmentation_model

_BACKBONE = {"vgg16": functools.partial(vgg16, output_stride=8, late_pools=False)}


def dilation_head(
    stages: Mapping[str, Any], num_classes: int, dropout: float, context: str | None
) -> Any:
    """VGG's fully connected layers as dilated convolutions, then a context module.

    Args:
        stages: C5, `(batch, height, width, channels)`, is used.
        num_classes: Number of classes.
        dropout: Rate of the dropout behind both hidden layers.
        context: `"basic"` or `"large"`, see `ContextModule`; None for the front end alone.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    # Behind the two pools that are left out, fc6 sees as far as in VGG16 with dilation 4.
    x = hidden_conv(stages["C5"], 4096, dropout, "fc6", kernel_size=7, dilation_rate=4)
    x = hidden_conv(x, 4096, dropout, "fc7", kernel_size=1)
    scores = Classifier(num_classes, 1, kernel_initializer=head_kernel(), name="classifier")(x)
    if context is None:
        return scores
    return ContextModule(context, name="context")(scores)


def _dilation(family: str, backbone: keras.Model, dropout: float = 0.5, **options: Any) -> Any:
    return segmentation_model(family, backbone, dilation_head, dropout=dropout, **options)


@register_family(_BACKBONE, dilation_head, output_stride=8, context=None)
def dilation_frontend(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end: VGG16 without its last two pools."""
    return _dilation("dilation_frontend", backbone, **options)


@register_family(_BACKBONE, dilation_head, output_stride=8, context="basic")
def dilation_basic(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end with the basic context module."""
    return _dilation("dilation_basic", backbone, **options)


@register_family(_BACKBONE, dilation_head, output_stride=8, context="large")
def dilation_large(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end with the large context module."""
    return _dilation("dilation_large", backbone, **options)
