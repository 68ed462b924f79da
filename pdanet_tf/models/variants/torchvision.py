"""torchvision's FCN and DeepLab v3.

They are our networks with the 7 x 7 stem, an auxiliary head of a quarter of the channels, and
dropout of single elements. In DeepLab v3 a dropout of 0.5 also follows the pyramid.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import RESNETS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import AtrousSpatialPyramidPooling
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model

_BACKBONES = {name: RESNETS[name].with_fixed(stem="7x7") for name in ("resnet50", "resnet101")}
_AUXILIARY = {"dropout": 0.1, "filters": 256, "spatial": False}


def fcn_head(stages: Mapping[str, Tensor], num_classes: int, dropout: float) -> Tensor:
    """Applies a 3 x 3 convolution to a quarter of the channels, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout of single elements.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    x = head_conv(features.shape[-1] // 4, "head_conv")(features)
    return classify(x, num_classes, dropout, spatial=False)


def deeplabv3_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int] = (12, 24, 36),
) -> Tensor:
    """Applies atrous spatial pyramid pooling, dropout, a 3 x 3 convolution, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout of single elements behind the pyramid.
        dilation_rates: Rates of the pyramid.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = AtrousSpatialPyramidPooling(256, dilation_rates, name="aspp")(stages["C5"])
    x = keras.layers.Dropout(dropout, name="aspp_dropout")(x)
    return classify(head_conv(256, "head_conv")(x), num_classes, 0.0)


@register_variant("fcn", "torchvision", _BACKBONES, fcn_head, output_stride=8)
def fcn(backbone: keras.Model, dropout: float = 0.1, **options: Any) -> keras.Model:
    """Builds torchvision's FCN."""
    return segmentation_model(
        "fcn",
        backbone,
        fcn_head,
        dropout=dropout,
        variant="torchvision",
        auxiliary=_AUXILIARY,
        **options,
    )


@register_variant("deeplabv3", "torchvision", _BACKBONES, deeplabv3_head, output_stride=8)
def deeplabv3(backbone: keras.Model, dropout: float = 0.5, **options: Any) -> keras.Model:
    """Builds torchvision's DeepLab v3."""
    return segmentation_model(
        "deeplabv3",
        backbone,
        deeplabv3_head,
        dropout=dropout,
        variant="torchvision",
        auxiliary=_AUXILIARY,
        **options,
    )
