"""SegNet and SegNet-Basic as published (Badrinarayanan et al. 2015; SegNet-Tutorial).

They take the pixels as they are: blue, green and red from 0 to 255. SegNet-Basic normalises them by
their neighbouring channels. The published convolutions have biases, which the batch norm behind
them makes redundant: loading weights subtracts them from its mean.
"""

from collections.abc import Sequence
from typing import Any

import keras

from pdanet_tf.backbones.published import segnet_basic_published
from pdanet_tf.backbones.registry import Backbone
from pdanet_tf.backbones.segnet import segnet_vgg16_encoder
from pdanet_tf.models.normalization import with_mean
from pdanet_tf.models.registry import find_model, register_variant
from pdanet_tf.models.segnet import segnet, segnet_head

_MEAN = (0.0, 0.0, 0.0)
_VGG16 = {"vgg16": Backbone(segnet_vgg16_encoder)}
_BASIC = {"basic": Backbone(segnet_basic_published)}
_published: dict[str, Any] = {"normalization": "caffe"}


@register_variant(
    "segnet", "published", _VGG16, segnet_head, **_published, **find_model("segnet_vgg16").options
)
@register_variant(
    "segnet", "published", _BASIC, segnet_head, **_published, **find_model("segnet_basic").options
)
def segnet_published(
    backbone: keras.Model,
    decoder: Sequence[Sequence[int]],
    dropout: float = 0.0,
    **options: Any,
) -> keras.Model:
    """SegNet as published: no mean is subtracted, and Basic normalises the image's channels."""
    return segnet(backbone, decoder, dropout, variant="published", **with_mean(_MEAN, options))
