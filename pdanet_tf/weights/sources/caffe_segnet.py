"""SegNet and SegNet-Basic under Caffe's names of their layers, such as "conv5_3_D_bn"."""

import re
from collections.abc import Iterable

import numpy as np

from pdanet_tf.weights.sources.source import Architecture, Source, State, count_classes, split_path

_EPSILON = 1e-5  # of batch norm here
_LAYER = re.compile(r"(block|decoder)(\d)_conv(\d)/(conv|batch_norm)")
# Number of convolutions in the blocks of VGG16.
_DEPTHS = (2, 2, 3, 3, 3)
_BASIC = "conv_classifier.weight"
_VGG16 = "conv1_1_D.weight"


def _prepare(state: State) -> State:
    """Moves the biases of convolutions into the mean of the batch norm behind them.

    The layers of trained networks have a scale and a shift, and no statistics any more.
    """
    prepared = dict(state)
    for name, array in state.items():
        layer, _, variable = name.rpartition(".")
        norm = f"{layer}_bn"
        if variable != "bias" or f"{norm}.weight" not in state:
            continue
        del prepared[name]
        mean, variance = f"{norm}.running_mean", f"{norm}.running_var"
        if mean not in state and variance not in state:
            prepared[mean] = -array
            prepared[variance] = np.full_like(array, 1 - _EPSILON)
        elif mean in state:
            prepared[mean] = state[mean] - array
    return prepared


def _architecture(state: State) -> Architecture:
    name, kernel = ("segnet_basic", _BASIC) if _BASIC in state else ("segnet_vgg16", _VGG16)
    return Architecture(
        name, count_classes(state, kernel), variant="published", normalization="caffe"
    )


def _names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    is_basic = not any(path.startswith("block5_") for path in paths)
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if layer == "classifier":
            names[path] = f"{'conv_classifier' if is_basic else 'conv1_1_D'}.{variable}"
        elif match := _LAYER.fullmatch(layer):
            module = (_basic_module if is_basic else _vgg_module)(match)
            names[path] = f"{module}{'' if match[4] == 'conv' else '_bn'}.{variable}"
    return names


def _basic_module(match: re.Match[str]) -> str:
    return f"conv{'' if match[1] == 'block' else '_decode'}{match[2]}"


def _vgg_module(match: re.Match[str]) -> str:
    block, index = int(match[2]), int(match[3])
    if match[1] == "block":
        return f"conv{block}_{index}"
    # The decoder mirrors the encoder.
    return f"conv{block}_{_DEPTHS[block - 1] + 1 - index}_D"


SEGNET = Source(
    "SegNet in Caffe's names",
    lambda state: _BASIC in state or _VGG16 in state,
    _architecture,
    _names,
    backbone=re.compile(r"conv\d(_\d)?(_bn)?\."),
    prepare=_prepare,
)
