"""Dilated context networks (Yu and Koltun 2015, "Multi-Scale Context Aggregation")."""

from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones.registry import VGG16
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import Classifier, ContextModule
from pdanet_tf.layers.initializers import head_kernel
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import hidden_conv, segmentation_model

_BACKBONE = {"vgg16": VGG16.with_defaults(output_stride=8, late_pools=False)}


def dilation_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, context: str | None
) -> Tensor:
    """Applies VGG's fully connected layers as dilated convolutions, then a context module.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both hidden layers.
        context: `"basic"` or `"large"`, see `ContextModule`; None for no context module.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    # The backbone lacks two pools; dilation 4 gives fc6 the field of view that it has in VGG16.
    x = hidden_conv(stages["C5"], 4096, dropout, "fc6", kernel_size=7, dilation_rate=4)
    x = hidden_conv(x, 4096, dropout, "fc7", kernel_size=1)
    scores = Classifier(num_classes, 1, kernel_initializer=head_kernel(), name="classifier")(x)
    if context is None:
        return scores
    return ContextModule(context, name="context")(scores)


def _dilation(
    family: str, backbone: keras.Model, dropout: float = 0.5, **options: Any
) -> keras.Model:
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
