"""Dilated context networks as published (Yu and Koltun 2015; fyu/dilation).

The image is reflected by 186 pixels, and the front end has no padding. The classifier starts with
a standard deviation of 0.001. The logits have the size of the image, also with `upsample=False`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones.published import dilated_vgg16
from pdanet_tf.backbones.registry import VGG16
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import BilinearDeconvolution, BilinearResizeLike, Classifier, ContextModule
from pdanet_tf.models.normalization import with_mean
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import hidden_conv, segmentation_model

_BACKBONE = {"vgg16": dataclasses.replace(VGG16, build=dilated_vgg16)}
_MEAN = (116.52, 111.36, 102.93)  # of red, green and blue in Pascal VOC
_LAYERS_BEFORE_DECONVOLUTION = 10


def published_dilation_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    context: str | None,
    context_layers: int = 8,
) -> Tensor:
    """Applies VGG's fully connected layers as dilated convolutions, and a context module.

    Args:
        stages: "image" and the stages of the backbone. The head uses C5,
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both hidden layers.
        context: `"basic"` or `"large"`, see `ContextModule`; None for no context module.
        context_layers: Number of layers of the basic context module: 8 (dilation8, CamVid), 7
            (dilation7, KITTI) or 10 (dilation10, Cityscapes). The large one has 8 (dilation8,
            Pascal VOC).

    Returns:
        Logits at the size of the image, `(batch, height, width, num_classes)`. Each cell of the
        scores lies on a pixel whose row and column are multiples of 8, because the networks were
        trained with the labels of these pixels. The network with 10 layers was trained with
        upsampled scores; there a deconvolution upsamples them.
    """
    options: dict[str, Any] = {"padding": "valid", "dilation_rate": 4}
    x = hidden_conv(stages["C5"], 4096, dropout, "fc6", kernel_size=7, **options)
    x = hidden_conv(x, 4096, dropout, "fc7", kernel_size=1)
    scores = Classifier(
        num_classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
        name="classifier",
    )(x)
    if context is not None:
        pad_once = context == "large"
        module = ContextModule(
            context, num_layers=context_layers, pad_once=pad_once, name="context"
        )
        scores = module(scores)
    if context is not None and context_layers == _LAYERS_BEFORE_DECONVOLUTION:
        return BilinearDeconvolution(8, 4, name="deconvolution")([scores, stages["image"]])
    return BilinearResizeLike(8, 0.0, name="upsampled")([scores, stages["image"]])


def _dilation(
    family: str, backbone: keras.Model, dropout: float = 0.5, **options: Any
) -> keras.Model:
    return segmentation_model(
        family,
        backbone,
        published_dilation_head,
        variant="published",
        needed_stages=("image", "C5"),
        dropout=dropout,
        **with_mean(_MEAN, options),
    )


_published: dict[str, Any] = {"output_stride": 8, "normalization": "caffe"}


@register_variant(
    "dilation_frontend",
    "published",
    _BACKBONE,
    published_dilation_head,
    context=None,
    **_published,
)
def dilation_frontend_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end as published."""
    return _dilation("dilation_frontend", backbone, **options)


@register_variant(
    "dilation_basic",
    "published",
    _BACKBONE,
    published_dilation_head,
    context="basic",
    **_published,
)
def dilation_basic_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end with the basic context module as published: 7, 8 or 10 layers."""
    return _dilation("dilation_basic", backbone, **options)


@register_variant(
    "dilation_large",
    "published",
    _BACKBONE,
    published_dilation_head,
    context="large",
    **_published,
)
def dilation_large_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """Dilated front end with the large context module as published, which pads its input once."""
    return _dilation("dilation_large", backbone, **options)
