"""MobileNetV2 (Sandler et al. 2018), with dilation as in the reference."""

import keras

from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import ConvBatchNorm, DepthwiseConvBatchNorm
from pdanet_tf.layers.initializers import backbone_kernel

_ACTIVATION = "relu6"
# For each group of blocks: expansion, output channels, number of blocks, stride (paper, table 2).
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# The stage that ends in each block. C2 to C4 end in the first block of a group, as in the
# reference, whose auxiliary head is on C4.
_STAGES = {1: "C1", 2: "C2", 4: "C3", 14: "C4", 17: "C5"}
_OUTPUT_STRIDES = (8, 16, 32)


def mobilenetv2(
    output_stride: int = 8, name: str = "mobilenetv2", channels: int = 3
) -> keras.Model:
    """Builds the convolutions of MobileNetV2, without the last one, which is for classification.

    Args:
        output_stride: Size of the image divided by the size of C5: 8, 16 or 32. Below 32, blocks
            keep the resolution and their convolutions are dilated instead. The features of the
            strided network are then a subset of the features.
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        the stages "C1" to "C5", with 16, 24, 32, 160 and 320 channels. At output stride 8 their
        strides are 2, 4, 8, 8 and 8, at 32 they are 2, 4, 8, 32 and 32; sizes are rounded up.

    Raises:
        ValueError: If there is no such output stride.
    """
    if output_stride not in _OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride must be one of {_OUTPUT_STRIDES}. "
            f"Received: output_stride={output_stride}"
        )
    inputs = keras.Input((None, None, channels), dtype="float32", name="normalized_image")
    x = _conv(32, 3, "stem_conv1", strides=2)(inputs)
    index, stride, dilation, stages = 0, 2, 1, {}
    for expansion, filters, depth, group_stride in _GROUPS:
        for position in range(depth):
            index += 1
            strides = group_stride if position == 0 else 1
            own_dilation = dilation
            if strides > 1 and stride == output_stride:
                # This block takes the features of the block before, so it has the same dilation.
                strides, dilation = 1, 2 * dilation
            stride *= strides
            x = _block(x, expansion, filters, strides, own_dilation, f"block{index}")
            if index in _STAGES:
                stages[_STAGES[index]] = x
    return keras.Model(inputs, stages, name=name)


def _block(
    x: Tensor, expansion: int, filters: int, strides: int, dilation: int, name: str
) -> Tensor:
    """Applies an inverted residual: expansion, depthwise convolution and linear projection."""
    inputs, channels = x, expansion * x.shape[-1]
    if expansion > 1:
        x = _conv(channels, 1, f"{name}_expansion")(x)
    x = DepthwiseConvBatchNorm(
        channels,
        3,
        strides=strides,
        dilation_rate=dilation,
        activation=_ACTIVATION,
        kernel_initializer=backbone_kernel(),
        name=f"{name}_depthwise",
    )(x)
    x = _conv(filters, 1, f"{name}_projection", activation=None)(x)
    if strides > 1 or inputs.shape[-1] != filters:
        return x
    return keras.layers.Add(name=f"{name}_add")([inputs, x])


def _conv(
    filters: int,
    kernel_size: int,
    name: str,
    strides: int = 1,
    activation: str | None = _ACTIVATION,
) -> ConvBatchNorm:
    return ConvBatchNorm(
        filters,
        kernel_size,
        strides=strides,
        activation=activation,
        kernel_initializer=backbone_kernel(),
        name=name,
    )
