"""The reference: models of PDANet's author and of CSAIL's `semantic-segmentation-pytorch`.

A model is an encoder and a decoder, each with a state dict of its own. Here both are one, with
names that begin with "encoder." and "decoder.".
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name, resnet_stem
from pdanet_tf.weights.sources.source import (
    Architecture,
    Source,
    State,
    count_classes,
    split_path,
    to_keras_layout,
)

_DUAL_ATTENTION = {
    "position_conv_in/conv": "conv5a.0",
    "position_conv_in/batch_norm": "conv5a.1",
    "position_attention": "sa",
    "position_attention/query": "sa.query_conv",
    "position_attention/key": "sa.key_conv",
    "position_attention/value": "sa.value_conv",
    "position_conv_out/conv": "conv51.0",
    "position_conv_out/batch_norm": "conv51.1",
    "channel_conv_in/conv": "conv5c.0",
    "channel_conv_in/batch_norm": "conv5c.1",
    "channel_attention": "sc",
    "channel_conv_out/conv": "conv52.0",
    "channel_conv_out/batch_norm": "conv52.1",
    "projection": "conv8.1",
}
_HEAD = {
    "head_conv/conv": "cbr.0",
    "head_conv/batch_norm": "cbr.1",
    "classifier": "conv_last",
    "aux_head/conv/conv": "cbr_deepsup.0",
    "aux_head/conv/batch_norm": "cbr_deepsup.1",
    "aux_head/classifier": "conv_last_deepsup",
}
_PYRAMID_HEAD = {
    **_HEAD,
    "fusion/conv": "conv_last.0",
    "fusion/batch_norm": "conv_last.1",
    "classifier": "conv_last.4",
}
# Names without a counterpart: the two convolutions of the author's dual attention whose outputs are
# discarded; the counters of PyTorch's batch norm; the second copy of the moving averages in the
# reference's synchronized batch norm; the classifier of a classification backbone; the class
# weights of a loss.
_UNUSED = re.compile(
    r"(^|\.)(conv6|conv7)\.1\.(weight|bias)$"
    r"|\.(num_batches_tracked|_tmp_running_mean|_tmp_running_var|_running_iter)$"
    r"|^((encoder|decoder)\.)?(fc|crit)\."
)
# Of UPerNet. A layer of its pyramids has an index in the place of the braces.
_UPERNET_HEAD = {
    "pyramid/level_{}": "ppm_conv.{}",
    "pyramid_conv": "ppm_last_conv",
    "feature_pyramid/lateral_{}": "fpn_in.{}",
    "feature_pyramid/output_{}": "fpn_out.{}.0",
    "fusion": "conv_last.0",
}
# The convolutions of a block of MobileNetV2, each with batch norm and ReLU.
_INVERTED_RESIDUAL = ("expansion", "depthwise", "projection")
# A family by the beginning of a name that only it has, and the name of its classifier's kernel.
_FAMILIES = (
    ("decoder.dam.", "danet", "decoder.dam.0.conv8.1.weight"),
    ("decoder.ppm.0.1.conv5a.", "pdanet", "decoder.conv_last.4.weight"),
    ("decoder.ppm.0.1.weight", "pspnet", "decoder.conv_last.4.weight"),
    ("decoder.ppm_conv.", "upernet", "decoder.conv_last.1.weight"),
    ("decoder.cbr.", "fcn", "decoder.conv_last.weight"),
)


def _recognises(state: State) -> bool:
    return any(name.startswith(("decoder.conv_last", "decoder.dam.")) for name in state) and any(
        name.startswith("encoder.") for name in state
    )


def _architecture(state: State) -> Architecture:
    for beginning, family, classifier in _FAMILIES:
        if any(name.startswith(beginning) for name in state) and classifier in state:
            return Architecture(
                f"{family}_{_backbone_name(state)}",
                count_classes(state, classifier),
                stem=resnet_stem(state, "encoder."),
                aux_head=any(REFERENCE.auxiliary.match(name) for name in state),
            )
    raise ValueError(
        "of its decoders only c1, ppm, upernet, dam and pdam (with and without deep supervision) "
        "are here"
    )


def _backbone_name(state: State) -> str:
    if "encoder.features.0.0.weight" not in state:
        return resnet_name(state, "encoder.")
    blocks = {name.split(".")[2] for name in state if name.startswith("encoder.features.")}
    first = np.shape(state["encoder.features.0.0.weight"])
    if len(blocks) != 18 or first[0] != 32:
        raise ValueError(
            "its MobileNetV2 must have 17 blocks behind a convolution of 32 channels, not "
            f"{len(blocks) - 1} behind {first[0]}"
        )
    return "mobilenetv2"


def _names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    head = _PYRAMID_HEAD if any(path.startswith("pyramid/") for path in paths) else _HEAD
    is_resnet = any(path.startswith("c2_block1_") for path in paths)
    is_upernet = any(path.startswith("feature_pyramid/") for path in paths)
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        # The scale of attention, and that of batch norm, are both called gamma here.
        ending = "gamma" if layer.endswith("attention") else variable
        if module := resnet_module(layer) if is_resnet else _mobilenet_module(layer):
            names[path] = f"encoder.{module}.{ending}"
        elif module := _upernet_module(layer) if is_upernet else _decoder_module(layer, head):
            names[path] = f"decoder.{module}.{ending}"
    return names


def _mobilenet_module(layer: str) -> str | None:
    """Returns CSAIL's name of a layer of MobileNetV2, in which the layers of a block have places.

    ReLU has a place of its own, and the first block has no expansion.
    """
    part = 0 if layer.endswith("/conv") else 1
    if layer.startswith("stem_conv1/"):
        return f"features.0.{part}"
    match = re.fullmatch(r"block(\d+)_(expansion|depthwise|projection)/(conv|batch_norm)", layer)
    if match is None:
        return None
    branches = ("depthwise", "projection") if match[1] == "1" else _INVERTED_RESIDUAL
    return f"features.{match[1]}.conv.{3 * branches.index(match[2]) + part}"


def _decoder_module(layer: str, head: Mapping[str, str]) -> str | None:
    if layer in head:
        return head[layer]
    _, dual_attention, inside = layer.partition("dual_attention/")
    level = re.match(r"pyramid/level_(\d+)/", layer)
    if dual_attention and inside in _DUAL_ATTENTION:
        prefix = f"ppm.{level[1]}.1" if level else "dam.0"
        return f"{prefix}.{_DUAL_ATTENTION[inside]}"
    if level and layer.endswith(("/conv", "/batch_norm")):
        return f"ppm.{level[1]}.{1 if layer.endswith('/conv') else 2}"
    return None


def _upernet_module(layer: str) -> str | None:
    if layer == "classifier":
        return "conv_last.1"
    conv, _, part = layer.rpartition("/")
    index = re.search(r"\d+$", conv)
    module = _UPERNET_HEAD.get(re.sub(r"\d+$", "{}", conv))
    if module is None:
        return None
    return f"{module.format(index and index[0])}.{0 if part == 'conv' else 1}"


def _to_keras(array: np.ndarray, name: str) -> np.ndarray:
    if _is_depthwise(array, name):
        return array.transpose(2, 3, 0, 1)
    return array.reshape(()) if name.endswith(".gamma") else to_keras_layout(array)


def _is_depthwise(array: np.ndarray, name: str) -> bool:
    """Returns whether a kernel has one channel per group; only MobileNetV2 has such kernels."""
    return name.startswith("encoder.features.") and array.ndim == 4 and array.shape[1] == 1


REFERENCE = Source(
    "CSAIL's semantic-segmentation-pytorch, or PDANet's author",
    _recognises,
    _architecture,
    _names,
    backbone=re.compile(r"encoder\."),
    auxiliary=re.compile(r"decoder\.(cbr|conv_last)_deepsup\."),
    unused=_UNUSED,
    to_keras=_to_keras,
)
