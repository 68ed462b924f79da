"""mmsegmentation 0.x and 1.x: FCN, PSPNet, DANet, UPerNet, DeepLab v3 and v3+ on ResNets.

No weight shows the strides and dilations of the backbone, the dilations of the head, or
`align_corners`. The package's own files say them in their configuration, see
`pdanet_tf.weights.sources.mmsegmentation_config`. For a state dict alone, the published
configurations "d8" are assumed: output stride 8, `contract_dilation=True`, dilations 1, 12, 24, 36,
`align_corners=False`. Users of others say so: `build_model(..., output_stride=16)` for "d16", whose
dilations are 1, 6, 12, 18.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.weights.endings import TORCH_ENDINGS
from pdanet_tf.weights.sources.mmsegmentation_config import apply_config
from pdanet_tf.weights.sources.mmsegmentation_names import CLASSIFIER, mmsegmentation_names
from pdanet_tf.weights.sources.resnet import resnet_name, resnet_stem
from pdanet_tf.weights.sources.source import (
    Architecture,
    Source,
    State,
    count_classes,
    kernel_shape,
    to_keras_layout,
)
from pdanet_tf.weights.torch import read_torch_entry

# The parts of each head, that is the words after "decode_head.", which distinguish the heads.
_HEADS: Mapping[str, frozenset[str]] = {
    "fcn": frozenset({"convs", "conv_cat"}),
    "pspnet": frozenset({"psp_modules", "bottleneck"}),
    "danet": frozenset(
        {"pam", "pam_in_conv", "pam_out_conv", "pam_conv_seg"}
        | {"cam", "cam_in_conv", "cam_out_conv", "cam_conv_seg"}
    ),
    "upernet": frozenset(
        {"psp_modules", "bottleneck", "lateral_convs", "fpn_convs", "fpn_bottleneck"}
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
        count_classes(state, f"{CLASSIFIER}.weight"),
        variant="mmsegmentation",
        stem=_stem(state),
        aux_head=_has_auxiliary_head(state),
        normalization="torch",
        options=_options(state, family),
        assumed=("a published configuration with contract_dilation=True, align_corners=False",),
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
            "of its decode heads only FCNHead (with concat_input), PSPHead, DAHead, UPerHead, "
            "ASPPHead and DepthwiseSeparableASPPHead are here. This one has the parts "
            f"{', '.join(sorted(parts)) or 'conv_seg alone'}"
        )
    if f"{CLASSIFIER}.weight" not in state:
        raise ValueError(f"its decode head has no {CLASSIFIER}")
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
        "upernet": "psp_modules.0.1.conv",
        "deeplabv3": "image_pool.1.conv",
        "deeplabv3plus": "image_pool.1.conv",
    }[family]
    filters, channels, *_ = kernel_shape(state, f"decode_head.{head}.weight")
    is_default = filters == (512 if family == "upernet" else channels // 4)
    if family == "danet":
        return _danet_options(state, filters, is_default)
    options = {} if is_default else {"filters": filters}
    if family == "fcn":
        _check_fcn(state)
    if family in ("pspnet", "upernet"):
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


def _to_keras(array: np.ndarray, name: str) -> np.ndarray:
    if ".depthwise_conv.conv." in name:
        return array.transpose(2, 3, 0, 1)
    return array.reshape(()) if name.endswith(".gamma.scale") else to_keras_layout(array)


MMSEGMENTATION = Source(
    "mmsegmentation",
    _recognises,
    _architecture,
    mmsegmentation_names,
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
