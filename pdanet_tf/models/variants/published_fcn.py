"""FCN-32s, FCN-16s and FCN-8s as published (Long et al. 2015; shelhamer/fcn.berkeleyvision.org).

The first convolution pads the image by 100, and fc6 has no padding. Transposed convolutions with a
fixed bilinear kernel upsample the scores, whose margins are cropped. All classifiers start at zero.
The logits have the size of the image, also with `upsample=False`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.published import fcn_vgg16
from pdanet_tf.backbones.registry import VGG16
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import BilinearDeconvolution, Classifier, DeconvolutionSum
from pdanet_tf.models.normalization import with_mean
from pdanet_tf.models.registry import register_variant
from pdanet_tf.models.segmentation import hidden_conv, segmentation_model

_BACKBONE = {"vgg16": dataclasses.replace(VGG16, build=fcn_vgg16)}
_MEAN = (122.67891434, 116.66876762, 104.00698793)  # of red, green and blue
# The rows and columns that are cropped from the scores of a stage.
_CROPS = {"C4": 5, "C3": 9}
# The factors of the features in the networks that are trained at once.
_SCALES = {"C4": 0.01, "C3": 0.0001}


def published_fcn_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    skips: Sequence[str],
    crop: int,
    at_once: bool = False,
) -> Tensor:
    """Applies VGG's fully connected layers, adds the scores of finer stages, and upsamples.

    Args:
        stages: "image" and the stages of the backbone. The head uses C5 and the skips, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both layers.
        skips: The finer stages whose scores are added, coarsest first.
        crop: The rows and columns that are cropped from the upsampled scores.
        at_once: Whether the features of the finer stages are scaled by 0.01 (C4) and 0.0001 (C3),
            as in the network that is trained at once instead of stage by stage.

    Returns:
        Logits at the size of the image, `(batch, height, width, num_classes)`.
    """
    x = hidden_conv(stages["C5"], 4096, dropout, "fc6", padding="valid", kernel_size=7)
    x = hidden_conv(x, 4096, dropout, "fc7", kernel_size=1)
    scores = _score(x, num_classes, "classifier")
    for stage in skips:
        name, features = stage.lower(), stages[stage]
        if at_once:
            features = keras.layers.Rescaling(_SCALES[stage], name=f"{name}_scale")(features)
        finer = _score(features, num_classes, f"{name}_classifier")
        scores = DeconvolutionSum(_CROPS[stage], name=f"{name}_sum")([scores, finer])
    stride = 32 >> len(skips)
    return BilinearDeconvolution(stride, crop, name="deconvolution")([scores, stages["image"]])


def _score(x: Tensor, num_classes: int, name: str) -> Tensor:
    return Classifier(num_classes, 1, kernel_initializer="zeros", name=name)(x)


def _fcn(
    family: str,
    backbone: keras.Model,
    skips: tuple[str, ...],
    crop: int,
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    return segmentation_model(
        family,
        backbone,
        published_fcn_head,
        variant="published",
        needed_stages=("image", "C5", *skips),
        skips=skips,
        crop=crop,
        dropout=dropout,
        **with_mean(_MEAN, options),
    )


_published: dict[str, Any] = {"output_stride": 32, "normalization": "caffe"}


@register_variant("fcn32s", "published", _BACKBONE, published_fcn_head, **_published)
def fcn32s_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-32s as published: deconvolution of stride 32, cropped by 19."""
    return _fcn("fcn32s", backbone, (), 19, **options)


@register_variant("fcn16s", "published", _BACKBONE, published_fcn_head, **_published)
def fcn16s_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-16s as published: deconvolutions of stride 2 and 16, crops of 5 and 27."""
    return _fcn("fcn16s", backbone, ("C4",), 27, **options)


@register_variant("fcn8s", "published", _BACKBONE, published_fcn_head, **_published)
def fcn8s_published(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-8s as published: deconvolutions of stride 2, 2 and 8, crops of 5, 9 and 31."""
    return _fcn("fcn8s", backbone, ("C4", "C3"), 31, **options)
