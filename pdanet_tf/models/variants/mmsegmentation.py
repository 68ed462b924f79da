"""mmsegmentation's FCN, PSPNet, DANet and UPerNet on ResNets V1c, V1d and V1b.

Heads are a quarter as wide as C5, as in the published configurations of ResNet18, 50 and 101; that
of UPerNet always has 512 channels.
Logits and context are stretched over the image (`align_corners=False`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import RESNETS
from pdanet_tf.backbones.resnet import Layout
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import (
    ConvBatchNorm,
    DualAttention,
    FeaturePyramid,
    PyramidFusion,
    PyramidPooling,
)
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model

# The second convolution of basic blocks is never dilated.
BACKBONES = {
    name: backbone.with_defaults(stem="v1c").with_fixed(layout=Layout(plain_second=True))
    for name, backbone in RESNETS.items()
}
# UPerNet is not dilated.
_STRIDED = {name: backbone.with_defaults(output_stride=32) for name, backbone in BACKBONES.items()}
_STAGES = ("C2", "C3", "C4", "C5")
_QUERY_FILTERS = 64  # of DANet's position attention, whatever the width of the head


def fcn_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    filters: int | None = None,
    dilation_rate: int = 1,
) -> Tensor:
    """Applies two 3 x 3 convolutions, a third one to their output and C5, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        filters: Number of channels of the convolutions; None for a quarter of C5's.
        dilation_rate: Dilation of the first two convolutions; 6 in the configurations "fcn_d6".

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    width = head_width(features, filters)
    x = features
    for name in ("head_conv1", "head_conv2"):
        x = ConvBatchNorm(
            width, 3, dilation_rate=dilation_rate, beta_initializer=head_beta(), name=name
        )(x)
    x = keras.layers.Concatenate(name="head_input")([features, x])
    return classify(head_conv(width, "head_conv3")(x), num_classes, dropout)


def pspnet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    filters: int | None = None,
) -> Tensor:
    """Applies a pyramid of pooled scales, a 3 x 3 convolution that fuses it, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        pool_scales: Bins per side of each level of the pyramid.
        filters: Number of channels of each level and of the fusion; None for a quarter of C5's.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    width = head_width(features, filters)
    levels = PyramidPooling(width, pool_scales, upsample=False, name="pyramid")(features)
    x = PyramidFusion(width, name="fusion")([features, *levels])
    return classify(x, num_classes, dropout)


def danet_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, reduction: int | None = None
) -> Tensor:
    """Applies dual attention, which computes logits from the features of the backbone.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        reduction: See `PositionAttention`; None for 64 channels of query and key.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    if reduction is None:
        reduction = max(1, head_width(features, None) // _QUERY_FILTERS)
    layer = DualAttention(
        num_classes, reduction, dropout=dropout, logits=True, name="dual_attention"
    )
    return layer(features)


def upernet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    filters: int = 512,
) -> Tensor:
    """Applies a pyramid of pooled scales, a feature pyramid, a fusion and a classifier.

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
    levels = PyramidPooling(filters, pool_scales, upsample=False, name="pyramid")(coarse)
    top = PyramidFusion(filters, name="pyramid_conv")([coarse, *levels])
    levels = FeaturePyramid(filters, name="feature_pyramid")([*fine, top])
    x = PyramidFusion(filters, name="fusion")(levels)
    return classify(x, num_classes, dropout)


def head_width(features: Tensor, filters: int | None) -> int:
    """Returns the width of a head: a given one, or a quarter of the channels of C5."""
    return max(1, features.shape[-1] // 4) if filters is None else filters


def build(
    family: str,
    backbone: keras.Model,
    head: Any,
    dropout: float = 0.1,
    aux_filters: int | None = None,
    **options: Any,
) -> keras.Model:
    """Builds a network of the package.

    Args:
        family: Name of the family.
        backbone: The backbone.
        head: The head.
        dropout: Rate of the spatial dropout in the head.
        aux_filters: Width of the auxiliary head; None for a quarter of the channels of C4.
        **options: Options of `segmentation_model`.
    """
    if aux_filters is None and "C4" in backbone.output:
        aux_filters = max(1, backbone.output["C4"].shape[-1] // 4)
    return segmentation_model(
        family,
        backbone,
        head,
        dropout=dropout,
        variant="mmsegmentation",
        auxiliary={"filters": aux_filters, "dropout": 0.1},
        upsampling="stretched",
        **options,
    )


@register_variant("fcn", "mmsegmentation", BACKBONES, fcn_head)
def fcn(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's FCN."""
    return build("fcn", backbone, fcn_head, **options)


@register_variant("pspnet", "mmsegmentation", BACKBONES, pspnet_head)
def pspnet(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's PSPNet."""
    return build("pspnet", backbone, pspnet_head, **options)


@register_variant("danet", "mmsegmentation", BACKBONES, danet_head)
def danet(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's DANet, without the scores of each attention that it trains with."""
    return build("danet", backbone, danet_head, **options)


@register_variant("upernet", "mmsegmentation", _STRIDED, upernet_head)
def upernet(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's UPerNet."""
    return build(
        "upernet", backbone, upernet_head, aux_filters=256, needed_stages=_STAGES, **options
    )
