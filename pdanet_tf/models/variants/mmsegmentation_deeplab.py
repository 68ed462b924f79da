"""mmsegmentation's DeepLab v3 and v3+; see `pdanet_tf.models.variants.mmsegmentation`."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import BilinearResizeLike, ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.models.atrous import atrous_branches, separable_conv
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import classify, head_conv, used_strides
from pdanet_tf.models.variants.mmsegmentation import BACKBONES, build, head_width

# Dilation rates of DeepLab at output stride 16. At 8 they are doubled.
_RATES = (6, 12, 18)


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
    x = _pyramid(features, head_width(features, filters), dilation_rates, separable=False)
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
    width = head_width(features, filters)
    narrow = max(1, fine.shape[-1] * 48 // 256) if detail_filters is None else detail_filters
    context = _pyramid(features, width, dilation_rates, separable=True)
    detail = ConvBatchNorm(narrow, 1, beta_initializer=head_beta(), name="detail")(fine)
    context = BilinearResizeLike(name="context")([context, detail])
    x = keras.layers.Concatenate(name="decoder_input")([context, detail])
    for name in ("decoder_conv1", "decoder_conv2"):
        x = separable_conv(x, width, name, normalize_between=True)
    return classify(x, num_classes, dropout)


def _pyramid(
    features: Tensor, filters: int, dilation_rates: Sequence[int], separable: bool
) -> Tensor:
    """Applies branches to features, and fuses them, the average over the image first."""
    *branches, image = atrous_branches(
        features, filters, dilation_rates, separable, normalize_between=True
    )
    x = keras.layers.Concatenate(name="aspp_branches")([image, *branches])
    return head_conv(filters, "aspp_fusion")(x)


def _rates(backbone: keras.Model, given: Sequence[int] | None) -> Sequence[int]:
    if given is not None:
        return given
    stride = used_strides(backbone, ("C5",))["C5"]
    return tuple(max(1, rate * 16 // stride) for rate in _RATES)


@register_variant("deeplabv3", "mmsegmentation", BACKBONES, deeplabv3_head)
def deeplabv3(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """Builds mmsegmentation's DeepLab v3; rates of 12, 24, 36 at output stride 8."""
    rates = _rates(backbone, dilation_rates)
    return build("deeplabv3", backbone, deeplabv3_head, dilation_rates=rates, **options)


@register_variant("deeplabv3plus", "mmsegmentation", BACKBONES, deeplabv3plus_head)
def deeplabv3plus(
    backbone: keras.Model, dilation_rates: Sequence[int] | None = None, **options: Any
) -> keras.Model:
    """Builds mmsegmentation's DeepLab v3+; rates of 12, 24, 36 at output stride 8."""
    rates = _rates(backbone, dilation_rates)
    return build(
        "deeplabv3plus",
        backbone,
        deeplabv3plus_head,
        needed_stages=("C2", "C5"),
        dilation_rates=rates,
        **options,
    )
