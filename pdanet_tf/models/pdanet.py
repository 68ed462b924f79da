"""PDANet: Pyramid Dual Attention Network for Scene Segmentation."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import HALF_RESNETS, QUARTER_RESNETS, RESNETS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import PyramidDualAttention, PyramidFusion
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, segmentation_model


def pdanet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    reduction: int = 8,
    channel_energy: str = "dissimilar",
    filters: int = 512,
) -> Tensor:
    """Applies a pyramid of dual attention, a 3 x 3 convolution that fuses it, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of every spatial dropout.
        pool_scales: Bins per side of each level of the pyramid.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.
        filters: Number of channels of each level of the pyramid, and of the fusion.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    pyramid = PyramidDualAttention(
        filters, pool_scales, reduction, channel_energy, dropout, upsample=False, name="pyramid"
    )
    x = PyramidFusion(filters, name="fusion")([features, *pyramid(features)])
    return classify(x, num_classes, dropout)


@register_family(RESNETS, pdanet_head)
@register_family(HALF_RESNETS, pdanet_head, filters=256)
@register_family(QUARTER_RESNETS, pdanet_head, filters=128)
def pdanet(backbone: keras.Model, **options: Any) -> keras.Model:
    """PDANet: a pyramid of dual attention."""
    return segmentation_model("pdanet", backbone, pdanet_head, **options)
