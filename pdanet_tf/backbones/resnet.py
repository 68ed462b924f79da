"""Dilated residual networks (He et al. 2015; Yu et al. 2017, "Dilated Residual Networks").

Stages are called C1 (the stem) to C5. At output stride 8, C4 and C5 keep the resolution of C3
and dilate instead, so that features stay dense without losing their field of view.
"""

from collections.abc import Sequence
from typing import Any

import keras

from pdanet_tf.layers.conv import BACKBONE_INITIALIZER, ConvBatchNorm

# For each output stride: (stride, dilation) of the stages C2 to C5.
_STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}
_FILTERS = (64, 128, 256, 512)


def resnet18(output_stride: int = 8, name: str = "resnet18") -> keras.Model:
    """Builds a ResNet18 with the deep stem of three 3 x 3 convolutions.

    Args:
        output_stride: Input size over the size of C4 and C5: 8, 16 or 32.
        name: Name of the model.

    Returns:
        A functional model from normalised images `(batch, height, width, 3)` to a dict of the
        stages "C1" to "C5", with 128, 64, 128, 256 and 512 channels at strides 2, 4, 8, and (at
        output stride 8) 8 and 8. Sizes are rounded up.

    Raises:
        ValueError: If the output stride is not one of 8, 16 and 32.
    """
    return _resnet(blocks=(2, 2, 2, 2), output_stride=output_stride, name=name)


def _resnet(blocks: Sequence[int], output_stride: int, name: str) -> keras.Model:
    if output_stride not in _STAGES:
        raise ValueError(
            f"output_stride must be one of {tuple(_STAGES)}. Received: {output_stride}"
        )
    inputs = keras.Input((None, None, 3), name="normalized_image")
    x = _stem(inputs)
    stages = {"C1": x}
    x = _max_pool(x)
    settings = zip(blocks, _FILTERS, _STAGES[output_stride], strict=True)
    for level, (depth, filters, (strides, dilation)) in enumerate(settings, start=2):
        for index in range(depth):
            first = index == 0
            x = _basic_block(
                x,
                filters,
                strides=strides if first else 1,
                # The block that would have halved the resolution sees features that are not
                # yet dilated by this stage.
                dilations=(max(1, dilation // 2) if first else dilation, dilation),
                name=f"c{level}_block{index + 1}",
            )
        stages[f"C{level}"] = x
    return keras.Model(inputs, stages, name=name)


def _conv(filters: int, kernel_size: int, name: str, **options: Any) -> ConvBatchNorm:
    return ConvBatchNorm(
        filters, kernel_size, kernel_initializer=BACKBONE_INITIALIZER, name=name, **options
    )


def _stem(x: Any) -> Any:
    x = _conv(64, 3, "stem_conv1", strides=2)(x)
    x = _conv(64, 3, "stem_conv2")(x)
    return _conv(128, 3, "stem_conv3")(x)


def _max_pool(x: Any) -> Any:
    # Zeros pad as well as minus infinity would: the stem ends in a ReLU.
    x = keras.layers.ZeroPadding2D(1, name="stem_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def _basic_block(x: Any, filters: int, strides: int, dilations: tuple[int, int], name: str) -> Any:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _conv(filters, 1, f"{name}_shortcut", strides=strides, activation=None)(x)
    x = _conv(filters, 3, f"{name}_conv1", strides=strides, dilation_rate=dilations[0])(x)
    x = _conv(filters, 3, f"{name}_conv2", dilation_rate=dilations[1], activation=None)(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)
