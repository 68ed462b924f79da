"""mmsegmentation's FCN, PSPNet, DANet, DeepLab v3 and v3+ on ResNets V1c, V1d and V1b.

The heads are a quarter as wide as C5, as in all published configurations of ResNet18, 50 and 101.
Logits and context are stretched over the image (`align_corners=False`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import RESNETS
from pdanet_tf.backbones.resnet import Layout
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import (
    BilinearResizeLike,
    ConvBatchNorm,
    DualAttention,
    PyramidFusion,
    PyramidPooling,
)
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model, used_strides
from pdanet_tf.models.variants.atrous import atrous_branches, separable_conv

# The second convolution of basic blocks is never dilated.
_BACKBONES = {
    name: backbone.with_defaults(stem="v1c").with_fixed(layout=Layout(plain_second=True))
    for name, backbone in RESNETS.items()
}
# Dilation rates of DeepLab at output stride 16. At 8 they are doubled.
_RATES = (6, 12, 18)
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
    width = _width(features, filters)
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
    width = _width(features, filters)
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
        reduction = max(1, _width(features, None) // _QUERY_FILTERS)
    layer = DualAttention(
        num_classes, reduction, dropout=dropout, logits=True, name="dual_attention"
    )
    return layer(features)


def deeplabv3_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int],
    filters: int | None = None,
) -> Tensor:
    """Applies atrous spatial pyramid pooling, fused by a 3 x 3 convolution, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the 3 x 3 convolutions.
        filters: Number of channels of each branch and of the fusion; None for a quarter of C5's.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages["C5"]
    x = _pyramid(features, _width(features, filters), dilation_rates, separable=False)
    return classify(x, num_classes, dropout)


def deeplabv3plus_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int],
    filters: int | None = None,
    detail_filters: int | None = None,
) -> Tensor:
    """Stretches a separable pyramid over C2, and refines both by two separable convolutions.

    Args:
        stages: The stages of the backbone. The head uses C5 and C2, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the 3 x 3 convolutions.
        filters: Number of channels of all other convolutions; None for a quarter of C5's.
        detail_filters: Number of channels that C2 is reduced to; None for 48 of 256.

    Returns:
        Logits at the size of C2, `(batch, height, width, num_classes)`.
    """
    features, fine = stages["C5"], stages["C2"]
    width = _width(features, filters)
    narrow = max(1, fine.shape[-1] * 48 // 256) if detail_filters is None else detail_filters
    context = _pyramid(features, width, dilation_rates, separable=True)
    detail = ConvBatchNorm(narrow, 1, beta_initializer=head_beta(), name="detail")(fine)
    context = BilinearResizeLike(name="context")([context, detail])
    x = keras.layers.Concatenate(name="decoder_input")([context, detail])
    for name in ("decoder_conv1", "decoder_conv2"):
        x = separable_conv(x, width, name, normalize_between=True)
    return classify(x, num_classes, dropout)


def _width(features: Tensor, filters: int | None) -> int:
    return max(1, features.shape[-1] // 4) if filters is None else filters


def _pyramid(
    features: Tensor, filters: int, dilation_rates: Sequence[int], separable: bool
) -> Tensor:
    """Applies branches to features, and fuses them, the average over the image first."""
    *branches, image = atrous_branches(
        features, filters, dilation_rates, separable, normalize_between=True
    )
    x = keras.layers.Concatenate(name="aspp_branches")([image, *branches])
    return head_conv(filters, "aspp_fusion")(x)


def _build(
    family: str, backbone: keras.Model, head: Any, dropout: float = 0.1, **options: Any
) -> keras.Model:
    inner = backbone.output.get("C4")
    auxiliary = {} if inner is None else {"filters": max(1, inner.shape[-1] // 4), "dropout": 0.1}
    return segmentation_model(
        family,
        backbone,
        head,
        dropout=dropout,
        variant="mmsegmentation",
        auxiliary=auxiliary,
        upsampling="stretched",
        **options,
    )


def _rates(backbone: keras.Model, given: Sequence[int] | None) -> Sequence[int]:
    if given is not None:
        return given
    stride = used_strides(backbone, ("C5",))["C5"]
    return tuple(max(1, rate * 16 // stride) for rate in _RATES)


@register_variant("fcn", "mmsegmentation", _BACKBONES, fcn_head)
def fcn(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's FCN."""
    return _build("fcn", backbone, fcn_head, **options)


@register_variant("pspnet", "mmsegmentation", _BACKBONES, pspnet_head)
def pspnet(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's PSPNet."""
    return _build("pspnet", backbone, pspnet_head, **options)


@register_variant("danet", "mmsegmentation", _BACKBONES, danet_head)
def danet(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds mmsegmentation's DANet, without the scores of each attention that it trains with."""
    return _build("danet", backbone, danet_head, **options)


@register_variant("deeplabv3", "mmsegmentation", _BACKBONES, deeplabv3_head)
def deeplabv3(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """Builds mmsegmentation's DeepLab v3; rates of 12, 24, 36 at output stride 8."""
    rates = _rates(backbone, dilation_rates)
    return _build("deeplabv3", backbone, deeplabv3_head, dilation_rates=rates, **options)


@register_variant("deeplabv3plus", "mmsegmentation", _BACKBONES, deeplabv3plus_head)
def deeplabv3plus(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """Builds mmsegmentation's DeepLab v3+; rates of 12, 24, 36 at output stride 8."""
    rates = _rates(backbone, dilation_rates)
    return _build(
        "deeplabv3plus",
        backbone,
        deeplabv3plus_head,
        needed_stages=("C2", "C5"),
        dilation_rates=rates,
        **options,
    )
