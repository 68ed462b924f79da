"""UPerNet: Unified Perceptual Parsing for Scene Understanding (Xiao et al. 2018, section 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import HALF_RESNETS, QUARTER_RESNETS, RESNETS, Backbone
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import FeaturePyramid, PyramidFusion, ResizedPyramidPooling
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model

_STAGES = ("C2", "C3", "C4", "C5")


def upernet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    filters: int = 512,
) -> Tensor:
    """Applies a pyramid of pooled scales, a feature pyramid, a fusion and a classifier.

    As in the code of the paper's authors, levels are stretched over finer ones, without regard to
    where their receptive fields are centred.

    Args:
        stages: The stages of the backbone. The head uses C2 to C5, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        pool_scales: Bins per side of each level of the pyramid of pooled scales.
        filters: Number of channels of each level of both pyramids, and of the fusion.

    Returns:
        Logits at the size of C2, `(batch, height, width, num_classes)`.
    """
    *fine, coarse = (stages[name] for name in _STAGES)
    x = ResizedPyramidPooling(filters, pool_scales, name="pyramid")(coarse)
    top = head_conv(filters, "pyramid_conv")(x)
    levels = FeaturePyramid(filters, name="feature_pyramid")([*fine, top])
    x = PyramidFusion(filters, name="fusion")(levels)
    return classify(x, num_classes, dropout)


def _strided(backbones: Mapping[str, Backbone]) -> dict[str, Backbone]:
    """Returns the same backbones, without dilation by default."""
    return {name: each.with_defaults(output_stride=32) for name, each in backbones.items()}


@register_family(_strided(RESNETS), upernet_head)
@register_family(_strided(HALF_RESNETS), upernet_head, filters=256)
@register_family(_strided(QUARTER_RESNETS), upernet_head, filters=128)
def upernet(backbone: keras.Model, dropout: float = 0.0, **options: Any) -> keras.Model:
    """UPerNet: a feature pyramid under a pyramid of pooled scales, without dilation."""
    return segmentation_model(
        "upernet",
        backbone,
        upernet_head,
        needed_stages=_STAGES,
        dropout=dropout,
        upsampling="stretched",
        **options,
    )
