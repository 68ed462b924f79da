"""mmsegmentation 0.x and 1.x: FCN, PSPNet, DANet, DeepLab v3 and v3+ on ResNets V1b, V1c and V1d.

No weight shows the strides and dilations of the backbone, the dilations of the head, or
`align_corners`. The package's own files say them in their configuration, see
`pdanet_tf.weights.sources.mmsegmentation_config`. For a state dict alone, the published
configurations "d8" are assumed: output stride 8, `contract_dilation=True`, dilations 1, 12, 24, 36,
`align_corners=False`. Users of others say so: `build_model(..., output_stride=16)` for "d16", whose
dilations are 1, 6, 12, 18.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.weights.sources.mmsegmentation_config import apply_config
from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name, resnet_stem
from pdanet_tf.weights.sources.source import (
    Architecture,
    Source,
    State,
    count_classes,
    kernel_shape,
    split_path,
    to_keras_layout,
)
from pdanet_tf.weights.torch import TORCH_ENDINGS, read_torch_entry

_CLASSIFIER = "decode_head.conv_seg"
# The three convolutions of the deep stem and their batch norms, in a sequence with activations.
_STEM = {
    f"stem_conv{index + 1}/{part}": f"backbone.stem.{3 * index + offset}"
    for index in range(3)
    for offset, part in enumerate(("conv", "batch_norm"))
}
_FCN = {"head_conv1": "convs.0", "head_conv2": "convs.1", "head_conv3": "conv_cat"}
_PSPNET = {"fusion": "bottleneck"} | {
    f"pyramid/level_{index}": f"psp_modules.{index}.1" for index in range(4)
}
_DANET = {
    f"dual_attention/{branch}_conv_{place}": f"{module}_{place}_conv"
    for branch, module in (("position", "pam"), ("channel", "cam"))
    for place in ("in", "out")
}
_DEEPLAB = {
    "aspp_image/projection": "image_pool.1",
    "aspp_fusion": "bottleneck",
    "detail": "c1_bottleneck",
}
# Layers of a convolution and a batch norm, by their names below "decode_head".
_BLOCKS = {**_FCN, **_PSPNET, **_DANET, **_DEEPLAB}
# Other layers, without batch norm.
_LAYERS = {
    "classifier": _CLASSIFIER,
    "dual_attention/projection": _CLASSIFIER,
    "dual_attention/position_attention/query": "decode_head.pam.query_project",
    "dual_attention/position_attention/key": "decode_head.pam.key_project",
    "dual_attention/position_attention/value": "decode_head.pam.value_project",
    "aux_head/conv/conv": "auxiliary_head.convs.0.conv",
    "aux_head/conv/batch_norm": "auxiliary_head.convs.0.bn",
    "aux_head/classifier": "auxiliary_head.conv_seg",
}
_SCALES = {
    "dual_attention/position_attention/gamma": "decode_head.pam.gamma.scale",
    "dual_attention/channel_attention/gamma": "decode_head.cam.gamma.scale",
}
_BRANCH = re.compile(r"aspp_branch(\d+)")
_SEPARABLE = re.compile(
    r"(?:aspp_branch(\d+)|decoder_conv(\d+))_"
    r"(depthwise|depthwise_norm|pointwise/conv|pointwise/batch_norm)"
)
_SEPARABLE_PARTS = {
    "depthwise": "depthwise_conv.conv",
    "depthwise_norm": "depthwise_conv.bn",
    "pointwise/conv": "pointwise_conv.conv",
    "pointwise/batch_norm": "pointwise_conv.bn",
}
# The parts of each head, that is the words after "decode_head.", which distinguish the heads.
_HEADS: Mapping[str, frozenset[str]] = {
    "fcn": frozenset({"convs", "conv_cat"}),
    "pspnet": frozenset({"psp_modules", "bottleneck"}),
    "danet": frozenset(
        {"pam", "pam_in_conv", "pam_out_conv", "pam_conv_seg"}
        | {"cam", "cam_in_conv", "cam_out_conv", "cam_conv_seg"}
    ),
    "deeplabv3": frozenset({"image_pool", "aspp_modules", "bottleneck"}),
    "deeplabv3plus": frozenset(
        {"image_pool", "aspp_modules", "bottleneck", "c1_bottleneck", "sep_bottleneck"}
    ),
}


def _recognises(state: State) -> bool:
    return any(name.startswith("backbone.") for name in state) and any(
        name.startswith("decode_head.") for name in state
    )


def _architecture(state: State) -> Architecture:
    family = _family(state)
    backbone = resnet_name(state, "backbone.")
    return Architecture(
        f"{family}_{backbone}",
        count_classes(state, f"{_CLASSIFIER}.weight"),
        variant="mmsegmentation",
        stem=_stem(state),
        aux_head=_has_auxiliary_head(state),
        normalization="torch",
        options=_options(state, family),
    )


def _complete(architecture: Architecture, path: Path) -> Architecture:
    if path.suffix not in TORCH_ENDINGS:
        return architecture
    meta = read_torch_entry(path, "meta")
    texts = [meta.get(key) for key in ("cfg", "config")] if isinstance(meta, Mapping) else []
    text = next((text for text in texts if isinstance(text, str)), "")
    return apply_config(architecture, text)


def _family(state: State) -> str:
    parts = {name.split(".")[1] for name in state if name.startswith("decode_head.")}
    parts -= {"conv_seg", "loss_decode"}
    family = next((name for name, expected in _HEADS.items() if parts == expected), None)
    if family is None:
        raise ValueError(
            "of its decode heads only FCNHead (with concat_input), PSPHead, DAHead, ASPPHead and "
            "DepthwiseSeparableASPPHead are here. This one has the parts "
            f"{', '.join(sorted(parts)) or 'conv_seg alone'}"
        )
    if f"{_CLASSIFIER}.weight" not in state:
        raise ValueError(f"its decode head has no {_CLASSIFIER}")
    return family


def _stem(state: State) -> str:
    if resnet_stem(state, "backbone.") == "7x7":
        return "7x7"
    filters = tuple(
        np.shape(state.get(f"backbone.stem.{index}.weight", ()))[:1] for index in (0, 6)
    )
    if filters != ((32,), (64,)):
        raise ValueError(
            "its stem must be that of ResNetV1b (7 x 7), or of ResNetV1c and V1d (3 x 3 "
            "convolutions of 32, 32 and 64 channels, stem_channels=64)"
        )
    # The shortcuts of V1d begin with a pool, which has no weights.
    return "v1d" if "backbone.layer2.0.downsample.2.weight" in state else "v1c"


def _options(state: State, family: str) -> dict[str, Any]:
    """Returns the options of the head that its shapes show, where they are not the defaults."""
    head = {
        "fcn": "convs.0.conv",
        "pspnet": "psp_modules.0.1.conv",
        "danet": "pam_in_conv.conv",
        "deeplabv3": "image_pool.1.conv",
        "deeplabv3plus": "image_pool.1.conv",
    }[family]
    filters, channels, *_ = kernel_shape(state, f"decode_head.{head}.weight")
    is_default = filters == channels // 4
    if family == "danet":
        return _danet_options(state, filters, is_default)
    options = {} if is_default else {"filters": filters}
    if family == "fcn":
        _check_fcn(state)
    if family == "pspnet":
        _check_count(state, "psp_modules", 4, "pool_scales=(1, 2, 3, 6)")
    if family.startswith("deeplab"):
        _check_count(state, "aspp_modules", 4, "dilations, the first of which is 1")
    if family == "deeplabv3plus":
        narrow, fine, *_ = kernel_shape(state, "decode_head.c1_bottleneck.conv.weight")
        options |= {} if narrow == fine * 48 // 256 else {"detail_filters": narrow}
    return options


def _danet_options(state: State, filters: int, is_default: bool) -> dict[str, Any]:
    narrow = kernel_shape(state, "decode_head.pam.query_project.weight")[0]
    if not is_default or filters % narrow:
        raise ValueError(
            "DAHead must have channels=in_channels / 4, and pam_channels that divide them. This "
            f"one has channels={filters}, pam_channels={narrow}"
        )
    return {"reduction": filters // narrow}


def _check_fcn(state: State) -> None:
    convolutions = {name.split(".")[2] for name in state if name.startswith("decode_head.convs.")}
    size = kernel_shape(state, "decode_head.convs.0.conv.weight")[2:]
    if convolutions != {"0", "1"} or size != (3, 3):
        raise ValueError(
            "FCNHead must have num_convs=2 and kernel_size=3. This one has "
            f"num_convs={len(convolutions)} and kernel_size={size[-1]}"
        )


def _check_count(state: State, modules: str, count: int, expected: str) -> None:
    prefix = f"decode_head.{modules}."
    found = {name.split(".")[2] for name in state if name.startswith(prefix)}
    if len(found) != count:
        raise ValueError(f"its head must have {count} {expected}. This one has {len(found)}")


def _has_auxiliary_head(state: State) -> bool:
    """Returns whether there is an auxiliary head like ours: one convolution on C4."""
    names = {name for name in state if name.startswith("auxiliary_head.")}
    ours = {f"auxiliary_head.convs.0.bn.{name}" for name in ("weight", "bias", "running_mean")} | {
        "auxiliary_head.convs.0.bn.running_var",
        "auxiliary_head.convs.0.conv.weight",
        "auxiliary_head.conv_seg.weight",
        "auxiliary_head.conv_seg.bias",
    }
    return {name for name in names if not name.endswith("num_batches_tracked")} == ours


def _names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    is_deep = any(path.startswith("stem_conv2/") for path in paths)
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if path in _SCALES:
            names[path] = _SCALES[path]
        elif is_deep and layer in _STEM:
            names[path] = f"{_STEM[layer]}.{variable}"
        elif module := resnet_module(layer):
            names[path] = f"backbone.{module}.{variable}"
        elif layer in _LAYERS:
            names[path] = f"{_LAYERS[layer]}.{variable}"
        elif module := _head_module(layer):
            names[path] = f"decode_head.{module}.{variable}"
    return names


def _head_module(layer: str) -> str | None:
    if match := _SEPARABLE.fullmatch(layer):
        branch, conv, part = match.groups()
        module = f"aspp_modules.{branch}" if branch else f"sep_bottleneck.{int(conv) - 1}"
        return f"{module}.{_SEPARABLE_PARTS[part]}"
    block, _, part = layer.rpartition("/")
    if part not in ("conv", "batch_norm"):
        return None
    ending = "conv" if part == "conv" else "bn"
    if branch := _BRANCH.fullmatch(block):
        return f"aspp_modules.{branch[1]}.{ending}"
    return f"{_BLOCKS[block]}.{ending}" if block in _BLOCKS else None


def _to_keras(array: np.ndarray, name: str) -> np.ndarray:
    if ".depthwise_conv.conv." in name:
        return array.transpose(2, 3, 0, 1)
    return array.reshape(()) if name.endswith(".gamma.scale") else to_keras_layout(array)


MMSEGMENTATION = Source(
    "mmsegmentation",
    _recognises,
    _architecture,
    _names,
    backbone=re.compile(r"backbone\."),
    auxiliary=re.compile(r"auxiliary_head\."),
    # Counters; DANet's scores of each attention, which it only trains with; statistics of pixels;
    # class weights of losses.
    unused=re.compile(
        r"(^|\.)num_batches_tracked$|^decode_head\.(pam|cam)_conv_seg\.|^data_preprocessor\."
        r"|\.loss_decode\."
    ),
    to_keras=_to_keras,
    complete=_complete,
)
