"""DeepLab v3 and v3+ (Chen et al. 2017 and 2018), without the multi-grid of C5."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones import RESNETS, stage_strides
from pdanet_tf.layers import AtrousSpatialPyramidPooling, BilinearResizeLike, ConvBatchNorm
from pdanet_tf.layers.conv import HEAD_BETA
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, head_conv, segmentation_model

# At output stride 16; at 8 they are doubled, so that they reach as far in the image.
_RATES = (6, 12, 18)


def deeplabv3_head(
    stages: Mapping[str, Any], num_classes: int, dropout: float, dilation_rates: Sequence[int]
) -> Any:
    """Atrous spatial pyramid pooling, a 3 x 3 convolution, classified.

    Args:
        stages: C5, `(batch, height, width, channels)`, is used.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the pyramid.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    x = AtrousSpatialPyramidPooling(256, dilation_rates, name="aspp")(stages["C5"])
    return classify(head_conv(256, "head_conv")(x), num_classes, dropout)


def deeplabv3plus_head(
    stages: Mapping[str, Any], num_classes: int, dropout: float, dilation_rates: Sequence[int]
) -> Any:
    """The pyramid upsampled to C2, joined with it, and refined by two 3 x 3 convolutions.

    Args:
        stages: C5 and C2, each `(batch, height, width, channels)`, are used.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout.
        dilation_rates: Rates of the pyramid.

    Returns:
        Logits at the size of C2, `(batch, height, width, num_classes)`.
    """
    context = AtrousSpatialPyramidPooling(256, dilation_rates, name="aspp")(stages["C5"])
    context = BilinearResizeLike(name="context")([context, stages["C2"]])
    detail = ConvBatchNorm(48, 1, beta_initializer=HEAD_BETA, name="detail")(stages["C2"])
    x = keras.layers.Concatenate(name="decoder_input")([context, detail])
    x = head_conv(256, "decoder_conv1")(x)
    x = head_conv(256, "decoder_conv2")(x)
    return classify(x, num_classes, dropout)


@register_family(RESNETS)
def deeplabv3(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """DeepLab v3: atrous spatial pyramid pooling with the image's average."""
    rates = dilation_rates or _rates(backbone)
    return segmentation_model(
        "deeplabv3", backbone, deeplabv3_head, dilation_rates=rates, **options
    )


@register_family(RESNETS)
def deeplabv3plus(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """DeepLab v3+: DeepLab v3 with a decoder that sees the details of C2."""
    rates = dilation_rates or _rates(backbone)
    return segmentation_model(
        "deeplabv3plus",
        backbone,
        deeplabv3plus_head,
        needed_stages=("C2", "C5"),
        dilation_rates=rates,
        **options,
    )


def _rates(backbone: keras.Model) -> tuple[int, ...]:
    stride = stage_strides(backbone)["C5"]
    return tuple(max(1, rate * 16 // stride) for rate in _RATES)
