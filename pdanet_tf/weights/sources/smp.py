"""segmentation_models.pytorch: `PSPNet`, `DeepLabV3` and `DeepLabV3Plus` on ResNets.

A state dict shows neither `encoder_output_stride` nor `decoder_atrous_rates`, so the package's
defaults are assumed: 8 (`DeepLabV3Plus`: 16) and 12, 24, 36. Users who trained with others say so:
`build_model(..., output_stride=16)`. The activation is not part of the models here: they compute
logits.
"""

import re
from collections.abc import Iterable

import numpy as np

from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name
from pdanet_tf.weights.sources.source import (
    Architecture,
    Source,
    State,
    count_classes,
    kernel_shape,
    split_path,
    to_keras_layout,
)

_CLASSIFIER = "segmentation_head.0"
_PSPNET = {
    "level1": "decoder.psp.blocks.0.pool.1.0",
    "level2/conv": "decoder.psp.blocks.1.pool.1.0",
    "level2/batch_norm": "decoder.psp.blocks.1.pool.1.1",
    "level3/conv": "decoder.psp.blocks.2.pool.1.0",
    "level3/batch_norm": "decoder.psp.blocks.2.pool.1.1",
    "level6/conv": "decoder.psp.blocks.3.pool.1.0",
    "level6/batch_norm": "decoder.psp.blocks.3.pool.1.1",
    "fusion/conv": "decoder.conv.0",
    "fusion/batch_norm": "decoder.conv.1",
}
_DEEPLABV3 = {"head_conv/conv": "decoder.conv", "head_conv/batch_norm": "decoder.bn"}
_DEEPLABV3PLUS = {
    "context_conv_depthwise": "decoder.aspp.1.0",
    "context_conv_pointwise/conv": "decoder.aspp.1.1",
    "context_conv_pointwise/batch_norm": "decoder.aspp.2",
    "detail/conv": "decoder.block1.0",
    "detail/batch_norm": "decoder.block1.1",
    "decoder_conv_depthwise": "decoder.block2.0.0",
    "decoder_conv_pointwise/conv": "decoder.block2.0.1",
    "decoder_conv_pointwise/batch_norm": "decoder.block2.1",
}
# Layers of the pyramid of both DeepLabs, below "decoder.aspp" or "decoder.aspp.0".
_PYRAMID = {
    "aspp_branch0/conv": "convs.0.0",
    "aspp_branch0/batch_norm": "convs.0.1",
    "aspp_image/projection/conv": "convs.4.1",
    "aspp_image/projection/batch_norm": "convs.4.2",
    "aspp_projection/conv": "project.0",
    "aspp_projection/batch_norm": "project.1",
} | {
    f"aspp_branch{index}{layer}": f"convs.{index}{module}"
    for index in (1, 2, 3)
    for layer, module in (
        ("/conv", ".0"),
        ("/batch_norm", ".1"),
        ("_depthwise", ".0.0"),
        ("_pointwise/conv", ".0.1"),
        ("_pointwise/batch_norm", ".1"),
    )
}
# Names of the first versions, whose decoder of DeepLabV3 was a sequence.
_OLD_NAMES = {"0": "aspp", "1": "conv", "2": "bn"}
_OLD_NAME = re.compile(r"^decoder\.([012])\.")


def _prepare(state: State) -> State:
    return {
        _OLD_NAME.sub(lambda match: f"decoder.{_OLD_NAMES[match[1]]}.", name): array
        for name, array in state.items()
    }


def _recognises(state: State) -> bool:
    return f"{_CLASSIFIER}.weight" in state and any(name.startswith("encoder.") for name in state)


def _architecture(state: State) -> Architecture:
    encoder = resnet_name(state, "encoder.")
    # Of the families of decoders, each has a name that the others lack.
    if "decoder.psp.blocks.0.pool.1.0.weight" in state:
        family, options = "pspnet", _pspnet_options(state)
    elif "decoder.block2.0.0.weight" in state:
        family, options = "deeplabv3plus", _deeplab_options(state, "decoder.aspp.0")
    elif "decoder.aspp.project.0.weight" in state:
        family, options = "deeplabv3", _deeplab_options(state, "decoder.aspp")
    else:
        raise ValueError("of its decoders only PSPNet, DeepLabV3 and DeepLabV3Plus are here")
    return Architecture(
        f"{family}_{encoder}",
        count_classes(state, f"{_CLASSIFIER}.weight"),
        variant="smp",
        normalization="torch",
        options=options,
        assumed=() if family == "pspnet" else ("dilation rates 12, 24 and 36",),
    )


def _pspnet_options(state: State) -> dict[str, int]:
    if "decoder.conv.1.running_var" not in state:
        raise ValueError("its decoder must have batch norm (decoder_use_norm)")
    channels = kernel_shape(state, "decoder.psp.blocks.0.pool.1.0.weight")[1]
    stages = {stage: _stage_channels(state, stage) for stage in (3, 4, 5)}
    depth = next((stage for stage, found in stages.items() if found == channels), 3)
    return {
        "encoder_depth": depth,
        "filters": kernel_shape(state, "decoder.conv.0.weight")[0],
    }


def _deeplab_options(state: State, pyramid: str) -> dict[str, int | bool]:
    filters, channels, *_ = kernel_shape(state, f"{pyramid}.convs.0.0.weight")
    if channels != _stage_channels(state, 5):
        raise ValueError(
            "its decoder must read the last stage of the encoder (encoder_depth=5): "
            f"{_stage_channels(state, 5)} channels, not {channels}"
        )
    return {
        "filters": filters,
        "separable": f"{pyramid}.convs.1.0.0.weight" in state,
    }


def _stage_channels(state: State, stage: int) -> int:
    """Returns the number of channels of C3, C4 or C5."""
    last = f"encoder.layer{stage - 1}.0.conv3.weight"  # of a bottleneck
    return kernel_shape(state, last if last in state else last.replace("conv3", "conv2"))[0]


def _names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    has_decoder = any(path.startswith("decoder_conv_") for path in paths)
    pyramid = "decoder.aspp.0" if has_decoder else "decoder.aspp"
    head = {
        **{layer: f"{pyramid}.{module}" for layer, module in _PYRAMID.items()},
        **(_DEEPLABV3PLUS if has_decoder else _DEEPLABV3),
        **_PSPNET,
        "classifier": _CLASSIFIER,
    }
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if module := resnet_module(layer):
            names[path] = f"encoder.{module}.{variable}"
        elif layer in head:
            names[path] = f"{head[layer]}.{variable}"
    return names


def _to_keras(array: np.ndarray, name: str) -> np.ndarray:
    if name.startswith("decoder.") and array.ndim == 4 and array.shape[1] == 1:
        return array.transpose(2, 3, 0, 1)  # of a depthwise convolution
    return to_keras_layout(array)


SMP = Source(
    "segmentation_models.pytorch",
    _recognises,
    _architecture,
    _names,
    backbone=re.compile(r"encoder\."),
    # Counters; the head of an auxiliary classification of whole images; the stages of the encoder
    # that PSPNet does not use (`encoder_depth=3`).
    unused=re.compile(r"(^|\.)num_batches_tracked$|^classification_head\.|^encoder\.layer[34]\."),
    prepare=_prepare,
    to_keras=_to_keras,
)
