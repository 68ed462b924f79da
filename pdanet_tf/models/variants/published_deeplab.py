"""DeepLab-LargeFOV and DeepLab v2 as published (Chen et al. 2015 and 2016).

The logits have the size of the image, also with `upsample=False`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.published import deeplab_vgg16, with_image
from pdanet_tf.backbones.registry import RESNETS, VGG16
from pdanet_tf.backbones.resnet import Layout
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import (
    BilinearRescale,
    BilinearResizeLike,
    Classifier,
    ScoreMaximum,
    ScoreSum,
)
from pdanet_tf.layers.arguments import check_all_positive
from pdanet_tf.models.normalization import with_mean
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import hidden_conv, segmentation_model

_VGG = dataclasses.replace(VGG16, build=deeplab_vgg16)
_LARGEFOV = {"vgg16": _VGG.with_fixed(average_pool=True)}
_V2_VGG = {"vgg16": _VGG.with_fixed(average_pool=False)}
_CAFFE_LAYOUT = Layout(full_dilation=True, stride_first=True, ceil_pool=True)
_V2_RESNET = {"resnet101": RESNETS["resnet101"].with_fixed(stem="7x7", layout=_CAFFE_LAYOUT)}
_VGG_MEAN = (122.67891434, 116.66876762, 104.00698793)  # of red, green and blue
_RESNET_MEAN = (122.675, 116.669, 104.008)


def published_vgg_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, dilation_rates: Sequence[int]
) -> Tensor:
    """Applies fc6 and fc7 with several dilation rates, sums the scores, and upsamples.

    Args:
        stages: "image" and the stages of the backbone. The head uses C5,
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both hidden layers.
        dilation_rates: Rate of the 3 x 3 convolution fc6 of each branch.

    Returns:
        Logits at the size of the image, `(batch, height, width, num_classes)`. Each cell of the
        scores lies on a pixel whose row and column are multiples of 8.

    Raises:
        ValueError: If `dilation_rates` is not a sequence of integers, is empty, or holds a number
            below 1.
    """
    scores = []
    for index, rate in enumerate(check_all_positive("dilation_rates", dilation_rates)):
        x, name = stages["C5"], f"branch_{index}"
        x = hidden_conv(x, 1024, dropout, f"{name}_fc6", kernel_size=3, dilation_rate=rate)
        x = hidden_conv(x, 1024, dropout, f"{name}_fc7", kernel_size=1)
        scores.append(_classifier(num_classes, 1, 1, f"{name}_classifier")(x))
    total = ScoreSum(name="scores")(scores) if len(scores) > 1 else scores[0]
    return BilinearResizeLike(8, 0.0, name="upsampled")([total, stages["image"]])


def published_resnet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    network: keras.Model,
    dilation_rates: Sequence[int],
    scales: Sequence[float] = (0.5, 0.75),
) -> Tensor:
    """Sums dilated classifiers on the image and on smaller copies, and takes the maximum.

    Args:
        stages: "image" and the stages of the backbone. The head uses C5,
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Not used; the head has no dropout.
        network: The backbone, which the head applies to the smaller images.
        dilation_rates: Rate of each 3 x 3 classifier.
        scales: Factors of the sizes of the smaller images; empty for the image alone. The maximum
            is taken over the image and all of them, at the size of the image's scores.

    Returns:
        Logits at the size of the image, `(batch, height, width, num_classes)`; the scores are
        stretched over it.

    Raises:
        ValueError: If `dilation_rates` is not a sequence of integers, is empty, or holds a number
            below 1; or if a scale is not a positive fraction.
    """
    del dropout
    rates = check_all_positive("dilation_rates", dilation_rates)
    classifiers = [
        _classifier(num_classes, 3, rate, f"branch_{index}_classifier")
        for index, rate in enumerate(rates)
    ]

    def score(features: Tensor, name: str) -> Tensor:
        scores = [classifier(features) for classifier in classifiers]
        return ScoreSum(name=name)(scores) if len(scores) > 1 else scores[0]

    image = stages["image"]
    scores = [score(stages["C5"], "scores")]
    for index, scale in enumerate(scales):
        smaller = BilinearRescale(scale, name=f"scale_{index}_image")(image)
        found = score(network(smaller)["C5"], f"scale_{index}_scores")
        resize = BilinearResizeLike(name=f"scale_{index}_resized")
        scores.append(resize([found, scores[0]]))
    largest = ScoreMaximum(name="maximum")(scores) if len(scores) > 1 else scores[0]
    return BilinearResizeLike(name="upsampled")([largest, image])


def _classifier(num_classes: int, kernel_size: int, rate: int, name: str) -> Classifier:
    return Classifier(
        num_classes,
        kernel_size,
        dilation_rate=rate,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=name,
    )


def _vgg_model(
    family: str, backbone: keras.Model, dropout: float = 0.5, **options: Any
) -> keras.Model:
    return segmentation_model(
        family,
        backbone,
        published_vgg_head,
        variant="published",
        needed_stages=("image", "C5"),
        dropout=dropout,
        **with_mean(_VGG_MEAN, options),
    )


_published: dict[str, Any] = {"output_stride": 8, "normalization": "caffe"}


@register_variant("deeplab_largefov", "published", _LARGEFOV, published_vgg_head, **_published)
def deeplab_largefov_published(
    backbone: keras.Model, dilation_rates: Sequence[int] = (12,), **options: Any
) -> keras.Model:
    """DeepLab-LargeFOV as published: 3 x 3 pools, and an average pool before fc6."""
    return _vgg_model("deeplab_largefov", backbone, dilation_rates=dilation_rates, **options)


@register_variant("deeplabv2", "published", _V2_VGG, published_vgg_head, **_published)
def deeplabv2_vgg_published(
    backbone: keras.Model, dilation_rates: Sequence[int] = (6, 12, 18, 24), **options: Any
) -> keras.Model:
    """DeepLab v2 on VGG16 as published: 3 x 3 pools."""
    return _vgg_model("deeplabv2", backbone, dilation_rates=dilation_rates, **options)


@register_variant("deeplabv2", "published", _V2_RESNET, published_resnet_head, **_published)
def deeplabv2_resnet_published(
    backbone: keras.Model,
    dilation_rates: Sequence[int] = (6, 12, 18, 24),
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    """DeepLab v2 on ResNet101 as published: the maximum over scales 1, 0.5 and 0.75."""
    if "image" not in backbone.output:
        backbone = with_image(backbone)
    return segmentation_model(
        "deeplabv2",
        backbone,
        published_resnet_head,
        variant="published",
        needed_stages=("image", "C5"),
        network=backbone,
        dilation_rates=dilation_rates,
        dropout=dropout,
        **with_mean(_RESNET_MEAN, options),
    )
