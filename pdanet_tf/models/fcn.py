"""Fully convolutional network on a dilated backbone (Long et al. 2015; `c1` in the reference)."""

from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones.registry import HALF_RESNETS, MOBILENETS, QUARTER_RESNETS, RESNETS
from pdanet_tf.base.types import Tensor
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model


def fcn_head(stages: Mapping[str, Tensor], num_classes: int, dropout: float) -> Tensor:
    """Applies a 3 x 3 convolution to a quarter of the channels, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    x = head_conv(features.shape[-1] // 4, "head_conv")(features)
    return classify(x, num_classes, dropout)


@register_family({**RESNETS, **HALF_RESNETS, **QUARTER_RESNETS, **MOBILENETS}, fcn_head)
def fcn(backbone: keras.Model, dropout: float = 0.0, **options: Any) -> keras.Model:
    """FCN: one convolution on dilated features, without dropout as in the reference."""
    return segmentation_model("fcn", backbone, fcn_head, dropout=dropout, **options)
