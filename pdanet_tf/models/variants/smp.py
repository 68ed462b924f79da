"""segmentation_models.pytorch's PSPNet, DeepLab v3 and v3+ on ResNets.

Every convolution of a dilated stage has the same dilation. Logits, context and the levels of the
pyramid are stretched from corner to corner (`align_corners=True`). The package takes images only if
their sides are multiples of the output stride; these networks take any.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import RESNETS
from pdanet_tf.backbones.resnet import Layout
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import (
    AdaptiveAveragePooling,
    BilinearResizeLike,
    ConvBatchNorm,
)
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.models.atrous import atrous_branches, separable_conv
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model

_BACKBONES = {
    name: backbone.with_fixed(stem="7x7", layout=Layout(full_dilation=True))
    for name, backbone in RESNETS.items()
}
# PSPNet does not dilate: its `encoder_depth` chooses the stage, and so the stride.
_STRIDED = {name: backbone.with_fixed(output_stride=32) for name, backbone in _BACKBONES.items()}
_COARSE = {name: backbone.with_defaults(output_stride=16) for name, backbone in _BACKBONES.items()}
_DEPTHS = (3, 4, 5)
_POOL_SCALES = (1, 2, 3, 6)
_DETAIL_FILTERS = 48


def pspnet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    stage: str,
    filters: int = 512,
) -> Tensor:
    """Applies a pyramid of pooled scales, a 1 x 1 convolution that fuses it, and a classifier.

    Args:
        stages: The stages of the backbone, each `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        stage: Name of the stage that the head uses.
        filters: Number of channels of the fusion.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    features = stages[stage]
    narrow = features.shape[-1] // len(_POOL_SCALES)
    levels = []
    for scale in _POOL_SCALES:
        x = AdaptiveAveragePooling(scale, name=f"pool{scale}")(features)
        x = _level(narrow, scale)(x)
        levels.append(BilinearResizeLike(align_corners=True, name=f"resize{scale}")([x, features]))
    x = keras.layers.Concatenate(name="pyramid")([*levels, features])
    x = ConvBatchNorm(filters, 1, beta_initializer=head_beta(), name="fusion")(x)
    return classify(x, num_classes, dropout, kernel_size=3)


def _level(filters: int, scale: int) -> keras.layers.Layer:
    """Returns the 1 x 1 convolution of a level, that of a single bin without batch norm."""
    name = f"level{scale}"
    if scale > 1:
        return ConvBatchNorm(filters, 1, beta_initializer=head_beta(), name=name)
    return keras.layers.Conv2D(
        filters,
        1,
        data_format="channels_last",
        activation="relu",
        kernel_initializer=head_kernel(),
        name=name,
    )


def deeplabv3_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int] = (12, 24, 36),
    filters: int = 256,
    separable: bool = False,
) -> Tensor:
    """Applies atrous spatial pyramid pooling, dropout, a 3 x 3 convolution, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout of single elements behind the pyramid.
        dilation_rates: Rates of the pyramid.
        filters: Number of channels of all convolutions.
        separable: Whether the dilated convolutions are separable.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = _pyramid(stages["C5"], filters, dilation_rates, separable, dropout)
    return classify(head_conv(filters, "head_conv")(x), num_classes, 0.0)


def deeplabv3plus_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int] = (12, 24, 36),
    filters: int = 256,
    separable: bool = True,
) -> Tensor:
    """Stretches a pyramid over C2, and refines both by a separable convolution.

    Args:
        stages: The stages of the backbone. The head uses C5 and C2, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout of single elements behind the pyramid.
        dilation_rates: Rates of the pyramid.
        filters: Number of channels of all convolutions, except 48 for C2.
        separable: Whether the dilated convolutions are separable; those of the decoder always are.

    Returns:
        Logits at the size of C2, `(batch, height, width, num_classes)`.
    """
    context = _pyramid(stages["C5"], filters, dilation_rates, separable, dropout)
    context = separable_conv(context, filters, "context_conv")
    detail = ConvBatchNorm(_DETAIL_FILTERS, 1, beta_initializer=head_beta(), name="detail")(
        stages["C2"]
    )
    context = BilinearResizeLike(align_corners=True, name="context")([context, detail])
    x = keras.layers.Concatenate(name="decoder_input")([context, detail])
    x = separable_conv(x, filters, "decoder_conv")
    return classify(x, num_classes, 0.0)


def _pyramid(
    features: Tensor, filters: int, dilation_rates: Sequence[int], separable: bool, dropout: float
) -> Tensor:
    branches = atrous_branches(features, filters, dilation_rates, separable)
    x = keras.layers.Concatenate(name="aspp_branches")(branches)
    x = ConvBatchNorm(filters, 1, beta_initializer=head_beta(), name="aspp_projection")(x)
    return keras.layers.Dropout(dropout, name="aspp_dropout")(x)


def _build(
    family: str, backbone: keras.Model, head: Any, dropout: float = 0.5, **options: Any
) -> keras.Model:
    return segmentation_model(
        family,
        backbone,
        head,
        dropout=dropout,
        variant="smp",
        upsampling="corners",
        **options,
    )


@register_variant("pspnet", "smp", _STRIDED, pspnet_head)
def pspnet(
    backbone: keras.Model, encoder_depth: int = 3, dropout: float = 0.2, **options: Any
) -> keras.Model:
    """Builds the PSPNet of segmentation_models.pytorch.

    Args:
        backbone: The backbone. Stages above the used one are cut off.
        encoder_depth: 3 for a head on C3, at stride 8; 4 for C4, at 16; 5 for C5, at 32.
        dropout: Rate of the spatial dropout.
        **options: Options of `segmentation_model`.
    """
    if encoder_depth not in _DEPTHS:
        raise ValueError(
            f"encoder_depth must be one of {_DEPTHS}. Received: encoder_depth={encoder_depth!r}"
        )
    stage = f"C{encoder_depth}"
    stages = {name: x for name, x in backbone.output.items() if name <= stage}
    return _build(
        "pspnet",
        keras.Model(backbone.input, stages, name=backbone.name),
        pspnet_head,
        dropout,
        needed_stages=(stage,),
        stage=stage,
        **options,
    )


@register_variant("deeplabv3", "smp", _BACKBONES, deeplabv3_head)
def deeplabv3(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds the DeepLab v3 of segmentation_models.pytorch."""
    return _build("deeplabv3", backbone, deeplabv3_head, **options)


@register_variant("deeplabv3plus", "smp", _COARSE, deeplabv3plus_head)
def deeplabv3plus(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds the DeepLab v3+ of segmentation_models.pytorch."""
    return _build(
        "deeplabv3plus", backbone, deeplabv3plus_head, needed_stages=("C2", "C5"), **options
    )
