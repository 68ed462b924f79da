"""SegNet and SegNet-Basic (Badrinarayanan et al. 2015)."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.segnet import segnet_basic_encoder, segnet_vgg16_encoder
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import ConvBatchNorm, MaxUnpooling
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import classify, segmentation_model, strides_error, used_strides

# Numbers of filters of the decoder's convolutions, from the deepest block to the first.
_VGG16_DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,))
_BASIC_DECODER = ((64,), (64,), (64,), (64,))


def segnet_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    decoder: Sequence[Sequence[int]],
    kernel_size: int,
    activation: str | None,
    classifier_size: int,
) -> Tensor:
    """Unpools block by block with the encoder's masks, with convolutions after each unpooling.

    Args:
        stages: The stages and the masks of the encoder. The head uses the deepest stage,
            `(batch, height, width, channels)`, and all masks.
        num_classes: Number of classes.
        dropout: Rate of the spatial dropout before the classifier.
        decoder: Numbers of filters of the convolutions after each unpooling, deepest block first.
        kernel_size: Side of the kernels of these convolutions.
        activation: Activation of these convolutions; None in the published SegNet-Basic.
        classifier_size: Side of the classifier's kernel.

    Returns:
        Logits at the image's size, `(batch, height, width, num_classes)`.
    """
    x = stages[f"C{len(decoder)}"]
    for block, widths in zip(range(len(decoder), 0, -1), decoder, strict=True):
        x = MaxUnpooling(name=f"block{block}_unpool")([x, stages[f"mask{block}"]])
        for index, filters in enumerate(widths, start=1):
            x = ConvBatchNorm(
                filters,
                kernel_size,
                activation=activation,
                name=f"decoder{block}_conv{index}",
            )(x)
    return classify(x, num_classes, dropout, classifier_size)


@register_family(
    {"vgg16": segnet_vgg16_encoder},
    segnet_head,
    decoder=_VGG16_DECODER,
    kernel_size=3,
    activation="relu",
    classifier_size=3,
)
@register_family(
    {"basic": segnet_basic_encoder},
    segnet_head,
    decoder=_BASIC_DECODER,
    kernel_size=7,
    activation=None,
    classifier_size=1,
)
def segnet(
    backbone: keras.Model,
    decoder: Sequence[Sequence[int]],
    dropout: float = 0.0,
    **options: Any,
) -> keras.Model:
    """SegNet: a decoder that puts every maximum back where the encoder found it."""
    deepest = f"C{len(decoder)}"
    needed = (*(f"mask{block}" for block in range(1, len(decoder) + 1)), deepest)
    strides = used_strides(backbone, needed)
    # Every unpooling doubles the size.
    if any(2 * strides[mask] != strides[pooled] for mask, pooled in itertools.pairwise(needed)):
        raise strides_error(
            backbone,
            strides,
            "every mask must have half the stride of the next mask, and the last mask half the "
            f"stride of {deepest}",
        )
    return segmentation_model(
        "segnet",
        backbone,
        segnet_head,
        needed_stages=needed,
        decoder=decoder,
        dropout=dropout,
        **options,
    )
