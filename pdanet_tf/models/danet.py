"""DANet: Dual Attention Network for Scene Segmentation (Fu et al. 2019)."""

from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones.registry import HALF_RESNETS, QUARTER_RESNETS, RESNETS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import DualAttention
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import segmentation_model


def danet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    reduction: int = 8,
    channel_energy: str = "dissimilar",
) -> Tensor:
    """Applies dual attention, which computes logits from the features of the backbone.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    layer = DualAttention(
        num_classes,
        reduction,
        channel_energy,
        dropout,
        logits=True,
        name="dual_attention",
    )
    return layer(stages["C5"])


@register_family({**RESNETS, **HALF_RESNETS, **QUARTER_RESNETS}, danet_head)
def danet(backbone: keras.Model, **options: Any) -> keras.Model:
    """DANet: dual attention over the whole image."""
    return segmentation_model("danet", backbone, danet_head, **options)
