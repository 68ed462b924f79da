"""DeepLab: large field of view, v2, v3 and v3+ (Chen et al. 2015 to 2018).

In their papers, a fully connected CRF follows LargeFOV and v2; it is not part of the models. The
models of v3 and v3+ do not have the papers' multi-grid in C5.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.registry import RESNETS, VGG16
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import AtrousSpatialPyramidPooling, Classifier, ConvBatchNorm, ScoreSum
from pdanet_tf.layers.arguments import check_all_positive
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import (
    classify,
    head_conv,
    hidden_conv,
    relative_grid,
    resize_like,
    segmentation_model,
    strides_error,
    used_strides,
)
from pdanet_tf.ops.grid import CellGrid

_DENSE_VGG = {"vgg16": VGG16.with_defaults(output_stride=8)}
# Dilation rates of v3 at output stride 16. At 8 they are doubled, for the same field of view.
_RATES = (6, 12, 18)


def atrous_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int],
    hidden_filters: int | None,
) -> Tensor:
    """Applies branches of several dilation rates, and sums their logits.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both hidden layers. Without hidden layers the head has
            no dropout, as in the paper.
        dilation_rates: Rate of each branch.
        hidden_filters: Width of VGG's layers fc6 (3 x 3, dilated) and fc7 (1 x 1) in each branch;
            None for branches of a single dilated 3 x 3 convolution, as on ResNets.

    Returns:
        Logits, `(batch, height, width, num_classes)`.

    Raises:
        ValueError: If `dilation_rates` is not a sequence of integers, is empty, or holds a number
            below 1.
    """
    scores = []
    for index, rate in enumerate(check_all_positive("dilation_rates", dilation_rates)):
        x, name = stages["C5"], f"branch_{index}"
        dilated: dict[str, Any] = {"kernel_size": 3, "dilation_rate": rate}
        classifier = dilated
        if hidden_filters is not None:
            x = hidden_conv(x, hidden_filters, dropout, f"{name}_fc6", **dilated)
            x = hidden_conv(x, hidden_filters, dropout, f"{name}_fc7", kernel_size=1)
            classifier = {"kernel_size": 1}
        scores.append(
            Classifier(
                num_classes,
                **classifier,
                padding="same",
                kernel_initializer=head_kernel(),
                name=f"{name}_classifier",
            )(x)
        )
    if len(scores) == 1:
        return scores[0]
    return ScoreSum(name="scores")(scores)


@register_family(_DENSE_VGG, atrous_head, hidden_filters=1024)
def deeplab_largefov(
    backbone: keras.Model,
    dilation_rates: Sequence[int] = (12,),
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    """DeepLab-LargeFOV: VGG16's fc6 as a 3 x 3 convolution of dilation 12."""
    return segmentation_model(
        "deeplab_largefov",
        backbone,
        atrous_head,
        dilation_rates=dilation_rates,
        dropout=dropout,
        **options,
    )


@register_family(_DENSE_VGG, atrous_head, hidden_filters=1024)
@register_family({"resnet101": RESNETS["resnet101"]}, atrous_head, hidden_filters=None)
def deeplabv2(
    backbone: keras.Model,
    dilation_rates: Sequence[int] = (6, 12, 18, 24),
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    """DeepLab v2: atrous spatial pyramid pooling, the scores of four rates summed.

    On ResNet101 only the auxiliary head has dropout, so `dropout` is its rate and changes nothing
    without `aux_head`.
    """
    return segmentation_model(
        "deeplabv2",
        backbone,
        atrous_head,
        dilation_rates=dilation_rates,
        dropout=dropout,
        **options,
    )


def deeplabv3_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, dilation_rates: Sequence[int]
) -> Tensor:
    """Applies atrous spatial pyramid pooling, a 3 x 3 convolution, and a classifier.

    Args:
        stages: The stages of the backbone. The head uses C5, `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the pyramid.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = AtrousSpatialPyramidPooling(256, dilation_rates, name="aspp")(stages["C5"])
    return classify(head_conv(256, "head_conv")(x), num_classes, dropout)


def deeplabv3plus_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    dilation_rates: Sequence[int],
    context_grid: CellGrid | None,
) -> Tensor:
    """Upsamples the pyramid to C2, concatenates both, and refines them by two 3 x 3 convolutions.

    Args:
        stages: The stages of the backbone. The head uses C5 and C2, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the pyramid.
        context_grid: Where the cells of C5 lie among those of C2.

    Returns:
        Logits at the size of C2, `(batch, height, width, num_classes)`.
    """
    context = AtrousSpatialPyramidPooling(256, dilation_rates, name="aspp")(stages["C5"])
    context = resize_like(context, stages["C2"], context_grid, name="context")
    detail = ConvBatchNorm(48, 1, beta_initializer=head_beta(), name="detail")(stages["C2"])
    x = keras.layers.Concatenate(name="decoder_input")([context, detail])
    x = head_conv(256, "decoder_conv1")(x)
    x = head_conv(256, "decoder_conv2")(x)
    return classify(x, num_classes, dropout)


@register_family(RESNETS, deeplabv3_head)
def deeplabv3(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """DeepLab v3: atrous spatial pyramid pooling with the image's average."""
    rates = _rates(backbone) if dilation_rates is None else dilation_rates
    return segmentation_model(
        "deeplabv3", backbone, deeplabv3_head, dilation_rates=rates, **options
    )


@register_family(RESNETS, deeplabv3plus_head)
def deeplabv3plus(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """DeepLab v3+: DeepLab v3 with a decoder that sees the details of C2."""
    strides = used_strides(backbone, ("C2", "C5"))
    if strides["C2"] >= strides["C5"]:
        raise strides_error(backbone, strides, "C2, whose details are added, must be finer than C5")
    rates = _rates(backbone) if dilation_rates is None else dilation_rates
    return segmentation_model(
        "deeplabv3plus",
        backbone,
        deeplabv3plus_head,
        needed_stages=("C2", "C5"),
        dilation_rates=rates,
        context_grid=relative_grid(backbone, "C5", "C2"),
        **options,
    )


def _rates(backbone: keras.Model) -> tuple[int, ...]:
    stride = used_strides(backbone, ("C5",))["C5"]
    return tuple(max(1, rate * 16 // stride) for rate in _RATES)
