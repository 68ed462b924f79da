"""PSPNet: Pyramid Scene Parsing Network (Zhao et al. 2017)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import HALF_RESNETS, MOBILENETS, QUARTER_RESNETS, RESNETS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import PyramidFusion, PyramidPooling
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, segmentation_model


def pspnet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    filters: int = 512,
) -> Tensor:
    """Applies a pyramid of pooled scales, a 3 x 3 convolution that fuses it, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        pool_scales: Bins per side of each level of the pyramid.
        filters: Number of channels of each level of the pyramid, and of the fusion.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    levels = PyramidPooling(filters, pool_scales, upsample=False, name="pyramid")(features)
    x = PyramidFusion(filters, name="fusion")([features, *levels])
    return classify(x, num_classes, dropout)


@register_family({**RESNETS, **MOBILENETS}, pspnet_head)
@register_family(HALF_RESNETS, pspnet_head, filters=256)
@register_family(QUARTER_RESNETS, pspnet_head, filters=128)
def pspnet(backbone: keras.Model, **options: Any) -> keras.Model:
    """PSPNet: a pyramid of pooled scales."""
    return segmentation_model("pspnet", backbone, pspnet_head, **options)
