"""DANet: Dual Attention Network for Scene Segmentation (Fu et al. 2019)."""

from typing import Any

import keras

from pdanet_tf.backbones import resnet18
from pdanet_tf.layers import DualAttention
from pdanet_tf.models.registry import register_model
from pdanet_tf.models.segmentation import logits_dtype, segmentation_model


def danet_head(
    features: Any,
    num_classes: int,
    dropout: float,
    reduction: int = 8,
    channel_energy: str = "dissimilar",
) -> Any:
    """Dual attention from the backbone's features straight to the classes.

    Args:
        features: C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        reduction: See `PositionAttention`.
        channel_energy: See `ChannelAttention`.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = DualAttention(num_classes, reduction, channel_energy, dropout, name="dual_attention")(
        features
    )
    return keras.layers.Activation("linear", dtype=logits_dtype(), name="head_logits")(x)


@register_model
def danet_resnet18(output_stride: int = 8, **options: Any) -> keras.Model:
    """DANet on a dilated ResNet18 with the deep stem."""
    return segmentation_model("danet_resnet18", resnet18(output_stride), danet_head, **options)
