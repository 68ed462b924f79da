"""Encoders of SegNet (Badrinarayanan et al. 2015), which also output the places of their maxima."""

import keras

from pdanet_tf.backbones.vgg import VGG16_BLOCKS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import ConvBatchNorm, FullPrecisionConvBatchNorm, MaxPoolingWithMask
from pdanet_tf.layers.initializers import backbone_kernel


def segnet_vgg16_encoder(name: str = "vgg16", channels: int = 3) -> keras.Model:
    """Builds VGG16's convolutions, each with batch norm, and max pooling with masks.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        the stages "C1" to "C5" and of the masks "mask1" to "mask5". Each stage is the output of the
        pool of its block, at strides 2 to 32; each mask marks the maxima at the size before the
        pool.
    """
    return segnet_encoder(VGG16_BLOCKS, 3, name, channels)


def segnet_basic_encoder(name: str = "basic", channels: int = 3) -> keras.Model:
    """Builds SegNet-Basic's encoder: four blocks of one 7 x 7 convolution of 64 channels.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A model as of `segnet_vgg16_encoder`, with the stages "C1" to "C4" and their masks.
    """
    return segnet_encoder(((1, 64),) * 4, 7, name, channels)


def segnet_encoder(
    blocks: tuple[tuple[int, int], ...],
    kernel_size: int,
    name: str,
    channels: int,
    first: keras.layers.Layer | None = None,
) -> keras.Model:
    """Builds an encoder of convolutions with batch norm, and max pooling with masks.

    Args:
        blocks: Number and width of the convolutions of each block.
        kernel_size: Side of their kernels.
        name: Name of the model.
        channels: Number of channels of the images.
        first: A layer between the image and the first convolution; None for none.

    Returns:
        A model as of `segnet_vgg16_encoder`.
    """
    inputs = keras.Input((None, None, channels), dtype="float32", name="normalized_image")
    x, outputs = inputs if first is None else first(inputs), dict[str, Tensor]()
    for block, (depth, filters) in enumerate(blocks, start=1):
        for index in range(1, depth + 1):
            # In half precision, the masks must be the same as in float32.
            layer = FullPrecisionConvBatchNorm if index == depth else ConvBatchNorm
            x = layer(
                filters,
                kernel_size,
                kernel_initializer=backbone_kernel(),
                name=f"block{block}_conv{index}",
            )(x)
        x, outputs[f"mask{block}"] = MaxPoolingWithMask(name=f"block{block}_pool")(x)
        outputs[f"C{block}"] = x
    return keras.Model(inputs, outputs, name=name)
