"""DANet: Dual Attention Network for Scene Segmentation (Fu et al. 2019)."""

from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones import RESNETS
from pdanet_tf.layers import DualAttention
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import segmentation_model


def danet_head(
    stages: Mapping[str, Any],
    num_classes: int,
    dropout: float,
    reduction: int = 8,
    channel_energy: str = "dissimilar",
) -> Any:
    """Dual attention from the backbone's features straight to the classes.

    Args:
        stages: C5, `(batch, height, width, channels)`, is used.
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


@register_family(RESNETS, danet_head)
def danet(backbone: keras.Model, **options: Any) -> keras.Model:
    """DANet: dual attention over the whole image."""
    return segmentation_model("danet", backbone, danet_head, **options)
