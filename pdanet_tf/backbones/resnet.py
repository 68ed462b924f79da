"""Dilated residual networks (He et al. 2015; Yu et al. 2017, "Dilated Residual Networks").

The stages are named C1 (the stem) to C5. At output stride 8, C4 and C5 keep the resolution of C3,
and their convolutions are dilated instead, which preserves the field of view.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from pdanet_tf.base.choices import STEMS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import backbone_kernel

# For each output stride: (stride, dilation) of the stages C2 to C5.
_STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}
_FILTERS = (64, 128, 256, 512)

_Block = Callable[..., Tensor]


@dataclass(frozen=True)
class Layout:
    """How networks of other packages differ from ours, in ways that no weight shows.

    Attributes:
        full_dilation: Whether all convolutions of a dilated stage have its dilation. By default
            the one that would halve the resolution has half of it, as in the reference, in
            torchvision, and in mmsegmentation (`contract_dilation=True`).
        plain_second: Whether the second convolution of a basic block is never dilated, as in
            mmsegmentation. By default it has the dilation of its stage.
        stride_first: Whether the first 1 x 1 convolution of a bottleneck has the stride, as in He
            et al. 2015 and in networks trained with Caffe. By default the 3 x 3 convolution has it.
        ceil_pool: Whether the pool of the stem also has a window that starts at the last row or
            column, as in Caffe: sides of n become n // 2 + 1. By default they become n / 2, rounded
            up.
    """

    full_dilation: bool = False
    plain_second: bool = False
    stride_first: bool = False
    ceil_pool: bool = False


_OURS = Layout()


def resnet18(
    output_stride: int = 8,
    stem: str = "deep",
    name: str = "resnet18",
    channels: int = 3,
    width: float = 1.0,
    layout: Layout = _OURS,
) -> keras.Model:
    """Builds a ResNet18: two basic blocks per stage.

    Args:
        output_stride: Size of the image divided by the size of C5: 8, 16 or 32.
        stem: `"deep"`, three 3 x 3 convolutions of 64, 64 and 128 channels, as in the reference;
            `"7x7"`, one convolution of 64, as in torchvision and KerasHub; `"v1c"`, three of 32, 32
            and 64, as in mmsegmentation's ResNetV1c; or `"v1d"`, the same, and a shortcut that
            halves the resolution averages 2 x 2 cells before its 1 x 1 convolution, as in
            ResNetV1d (He et al. 2018, "Bag of Tricks").
        name: Name of the model.
        channels: Number of channels of the images.
        width: Factor of the number of channels of every convolution.
        layout: See `Layout`; by default that of the reference.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        the stages "C1" to "C5", each `(batch, height, width, channels)`. At output stride 8 their
        strides are 2, 4, 8, 8 and 8; sizes are rounded up. C2 to C5 have 64, 128, 256 and 512
        channels, times the width; C1 has 128 with the stem `"deep"`, otherwise 64.

    Raises:
        ValueError: If there is no such output stride or stem, or a convolution would have no
            channel or a fraction of one.
    """
    block = partial(_basic_block, plain_second=layout.plain_second)
    return _resnet(block, (2, 2, 2, 2), output_stride, stem, name, channels, width, layout)


def resnet34(
    output_stride: int = 8,
    stem: str = "deep",
    name: str = "resnet34",
    channels: int = 3,
    width: float = 1.0,
    layout: Layout = _OURS,
) -> keras.Model:
    """Builds a ResNet34: 3, 4, 6 and 3 basic blocks; see `resnet18`."""
    block = partial(_basic_block, plain_second=layout.plain_second)
    return _resnet(block, (3, 4, 6, 3), output_stride, stem, name, channels, width, layout)


def resnet50(
    output_stride: int = 8,
    stem: str = "deep",
    name: str = "resnet50",
    channels: int = 3,
    width: float = 1.0,
    layout: Layout = _OURS,
) -> keras.Model:
    """Builds a ResNet50: 3, 4, 6 and 3 bottlenecks; see `resnet18`.

    C2 to C5 have 256, 512, 1024 and 2048 channels.
    """
    block = partial(_bottleneck, stride_first=layout.stride_first)
    return _resnet(block, (3, 4, 6, 3), output_stride, stem, name, channels, width, layout)


def resnet101(
    output_stride: int = 8,
    stem: str = "deep",
    name: str = "resnet101",
    channels: int = 3,
    width: float = 1.0,
    layout: Layout = _OURS,
) -> keras.Model:
    """Builds a ResNet101: 3, 4, 23 and 3 bottlenecks; see `resnet50`."""
    block = partial(_bottleneck, stride_first=layout.stride_first)
    return _resnet(block, (3, 4, 23, 3), output_stride, stem, name, channels, width, layout)


def _resnet(
    block: _Block,
    depths: tuple[int, ...],
    output_stride: int,
    stem: str,
    name: str,
    channels: int,
    width: float,
    layout: Layout,
) -> keras.Model:
    if width <= 0 or _FILTERS[0] * width % 1:
        raise ValueError(
            f"width must be a positive multiple of 1/{_FILTERS[0]}. Received: width={width}"
        )
    if output_stride not in _STAGES:
        raise ValueError(
            f"output_stride must be one of {tuple(_STAGES)}. "
            f"Received: output_stride={output_stride}"
        )
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {STEMS}. Received: stem={stem!r}")
    inputs = keras.Input((None, None, channels), dtype="float32", name="normalized_image")
    first, *_ = filters = tuple(int(each * width) for each in _FILTERS)
    if stem == "7x7":
        x = _conv(first, 7, "stem_conv1", strides=2)(inputs)
    else:
        x = _deep_stem(inputs, first if stem == "deep" else first // 2)
    stages = {"C1": x}
    # Padding with zeros gives the same maxima as padding with minus infinity: the stem ends in a
    # ReLU.
    pad = ((1, 2), (1, 2)) if layout.ceil_pool else 1
    x = keras.layers.ZeroPadding2D(pad, data_format="channels_last", name="stem_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="stem_pool")(x)
    settings = zip(depths, filters, _STAGES[output_stride], strict=True)
    for level, (depth, channels, (strides, dilation)) in enumerate(settings, start=2):
        for index in range(depth):
            is_first = index == 0
            x = block(
                x,
                channels,
                strides=strides if is_first else 1,
                dilation=dilation,
                halves=is_first and not layout.full_dilation,
                average=stem == "v1d",
                name=f"c{level}_block{index + 1}",
            )
        stages[f"C{level}"] = x
    return keras.Model(inputs, stages, name=name)


def _conv(filters: int, kernel_size: int, name: str, **options: Any) -> ConvBatchNorm:
    return ConvBatchNorm(
        filters, kernel_size, kernel_initializer=backbone_kernel(), name=name, **options
    )


def _deep_stem(x: Tensor, filters: int) -> Tensor:
    x = _conv(filters, 3, "stem_conv1", strides=2)(x)
    x = _conv(filters, 3, "stem_conv2")(x)
    return _conv(2 * filters, 3, "stem_conv3")(x)


def _basic_block(
    x: Tensor,
    filters: int,
    strides: int,
    dilation: int,
    halves: bool,
    average: bool,
    name: str,
    *,
    plain_second: bool,
) -> Tensor:
    shortcut = _shortcut(x, filters, strides, average, name)
    first = _first_dilation(dilation, halves)
    second = 1 if plain_second else dilation
    x = _conv(filters, 3, f"{name}_conv1", strides=strides, dilation_rate=first)(x)
    x = _conv(filters, 3, f"{name}_conv2", dilation_rate=second, activation=None)(x)
    return _join(x, shortcut, name)


def _bottleneck(
    x: Tensor,
    filters: int,
    strides: int,
    dilation: int,
    halves: bool,
    average: bool,
    name: str,
    *,
    stride_first: bool,
) -> Tensor:
    shortcut = _shortcut(x, 4 * filters, strides, average, name)
    dilation = _first_dilation(dilation, halves)
    first, second = (strides, 1) if stride_first else (1, strides)
    x = _conv(filters, 1, f"{name}_conv1", strides=first)(x)
    x = _conv(filters, 3, f"{name}_conv2", strides=second, dilation_rate=dilation)(x)
    x = _conv(4 * filters, 1, f"{name}_conv3", activation=None)(x)
    return _join(x, shortcut, name)


def _first_dilation(dilation: int, halves: bool) -> int:
    """Returns the dilation of the first 3 x 3 convolution of a block.

    The convolution that would halve the resolution at a larger output stride takes the features of
    the stage before, so it has the dilation of that stage, half of that of its own.
    """
    return max(1, dilation // 2) if halves else dilation


def _shortcut(x: Tensor, filters: int, strides: int, average: bool, name: str) -> Tensor:
    if strides == 1 and x.shape[-1] == filters:
        return x
    if not average:
        return _conv(filters, 1, f"{name}_shortcut", strides=strides, activation=None)(x)
    if strides > 1:
        # Cells outside the image do not count.
        x = keras.layers.AveragePooling2D(
            strides, padding="same", data_format="channels_last", name=f"{name}_shortcut_pool"
        )(x)
    # Weights of the other shortcut have the same shapes. Another name refuses them.
    return _conv(filters, 1, f"{name}_average_shortcut", activation=None)(x)


def _join(x: Tensor, shortcut: Tensor, name: str) -> Tensor:
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_out")(x)
