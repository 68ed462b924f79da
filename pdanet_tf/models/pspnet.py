"""PSPNet: Pyramid Scene Parsing Network (Zhao et al. 2017)."""

from collections.abc import Sequence
from typing import Any

import keras

from pdanet_tf.backbones import resnet18
from pdanet_tf.layers import PyramidPooling
from pdanet_tf.models.registry import register_model
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model


def pspnet_head(
    features: Any,
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
) -> Any:
    """Pyramid of pooled scales, fused by a 3 x 3 convolution, classified.

    Args:
        features: C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        pool_scales: Bins per side of each level of the pyramid.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = PyramidPooling(512, pool_scales, name="pyramid")(features)
    x = head_conv(512, "fusion")(x)
    return classify(x, num_classes, dropout)


@register_model
def pspnet_resnet18(output_stride: int = 8, **options: Any) -> keras.Model:
    """PSPNet on a dilated ResNet18 with the deep stem."""
    return segmentation_model("pspnet_resnet18", resnet18(output_stride), pspnet_head, **options)
