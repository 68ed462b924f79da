"""The names that mmsegmentation gives to the variables of a model."""

import re
from collections.abc import Iterable, Mapping

from pdanet_tf.weights.sources.resnet import resnet_module
from pdanet_tf.weights.sources.source import split_path

CLASSIFIER = "decode_head.conv_seg"
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
_UPERNET = {"pyramid_conv": "bottleneck", "fusion": "fpn_bottleneck"} | {
    f"feature_pyramid/{layer}_{index}": f"{module}.{index}"
    for layer, module in (("lateral", "lateral_convs"), ("output", "fpn_convs"))
    for index in range(3)
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
    "classifier": CLASSIFIER,
    "dual_attention/projection": CLASSIFIER,
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


def mmsegmentation_names(paths: Iterable[str]) -> dict[str, str]:
    """Returns the package's name for each path of a variable that it has.

    Args:
        paths: The paths of all variables of a model.
    """
    paths = list(paths)
    is_deep = any(path.startswith("stem_conv2/") for path in paths)
    is_upernet = any(path.startswith("feature_pyramid/") for path in paths)
    blocks = {**_BLOCKS, **_UPERNET} if is_upernet else _BLOCKS
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
        elif module := _head_module(layer, blocks):
            names[path] = f"decode_head.{module}.{variable}"
    return names


def _head_module(layer: str, blocks: Mapping[str, str]) -> str | None:
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
    return f"{blocks[block]}.{ending}" if block in blocks else None
