"""Fully convolutional network on a dilated backbone (Long et al. 2015; `c1` in the reference)."""

from typing import Any

import keras

from pdanet_tf.backbones import resnet18
from pdanet_tf.models.registry import register_model
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model


def fcn_head(features: Any, num_classes: int, dropout: float) -> Any:
    """One 3 x 3 convolution to a quarter of the channels, classified.

    Args:
        features: C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    return classify(head_conv(features.shape[-1] // 4, "head_conv")(features), num_classes, dropout)


@register_model
def fcn_resnet18(output_stride: int = 8, dropout: float = 0.0, **options: Any) -> keras.Model:
    """FCN on a dilated ResNet18 with the deep stem; the reference uses no dropout in it."""
    return segmentation_model(
        "fcn_resnet18", resnet18(output_stride), fcn_head, dropout=dropout, **options
    )
