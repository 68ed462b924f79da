"""DeepLab v2 on ResNet101 in PyTorch: kazuto1011's `deeplab-pytorch` and isht7's.

Both converted the authors' weights from Caffe. The names of isht7's network also occur in the
networks of many papers on domain adaptation.
"""

import re
from collections.abc import Iterable

from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name
from pdanet_tf.weights.sources.source import Architecture, Source, State, count_classes, split_path

_MODEL = "deeplabv2_resnet101"
_BRANCH = re.compile(r"branch_(\d)_classifier")
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)")
_CONVOLUTIONS = {"1": "reduce", "2": "conv3x3", "3": "increase"}
_OLD_NAMES = (("scale.", "base."), (".proj.", ".shortcut."), (".aspp.stages.", ".aspp."))


def _prepare(state: State) -> State:
    """Gives the layers of the package's first version their later names."""
    prepared = {}
    for name, array in state.items():
        if name.startswith(("scale.", "base.")):
            for old, new in _OLD_NAMES:
                name = name.replace(old, new)
        prepared[name] = array
    return prepared


def _architecture(state: State) -> Architecture:
    if "base.aspp.c3.weight" not in state or "base.layer4.block23.reduce.conv.weight" not in state:
        raise ValueError("of its networks only DeepLab v2 on ResNet101 is here")
    return Architecture(
        _MODEL,
        count_classes(state, "base.aspp.c0.weight"),
        variant="published",
        output_stride=8,
        normalization="caffe",
    )


def _names(paths: Iterable[str]) -> dict[str, str]:
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if branch := _BRANCH.fullmatch(layer):
            names[path] = f"base.aspp.c{branch[1]}.{variable}"
        elif module := resnet_module(layer):
            names[path] = f"base.{_renamed(module)}.{variable}"
    return names


def _renamed(module: str) -> str:
    """Returns the package's name for torchvision's name of a layer of a ResNet."""
    match = _BLOCK.fullmatch(module)
    if match is None:
        return f"layer1.conv1.{'conv' if module.startswith('conv') else 'bn'}"
    stage, block, kind, index = match.groups()
    prefix = f"layer{int(stage) + 1}.block{int(block) + 1}"
    if kind == "downsample.":
        return f"{prefix}.shortcut.{'conv' if index == '0' else 'bn'}"
    return f"{prefix}.{_CONVOLUTIONS[index]}.{kind}"


DEEPLAB_PYTORCH = Source(
    "kazuto1011's deeplab-pytorch",
    lambda state: any(name.startswith("base.layer1.conv1.") for name in state),
    _architecture,
    _names,
    backbone=re.compile(r"base\.layer"),
    prepare=_prepare,
)


def _resnet_architecture(state: State) -> Architecture:
    if resnet_name(state, "Scale.") != "resnet101":
        raise ValueError("only the network on ResNet101 is here")
    return Architecture(
        _MODEL,
        count_classes(state, "Scale.layer5.conv2d_list.0.weight"),
        variant="published",
        output_stride=8,
        normalization="caffe",
        # The maximum over scales resizes in another way; the network at one scale is the same.
        options={"scales": ()},
    )


def _resnet_names(paths: Iterable[str]) -> dict[str, str]:
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        branch = _BRANCH.fullmatch(layer)
        module = f"layer5.conv2d_list.{branch[1]}" if branch else resnet_module(layer)
        if module:
            names[path] = f"Scale.{module}.{variable}"
    return names


PYTORCH_DEEPLAB_RESNET = Source(
    "isht7's pytorch-deeplab-resnet",
    lambda state: "Scale.layer5.conv2d_list.0.weight" in state,
    _resnet_architecture,
    _resnet_names,
    backbone=re.compile(r"Scale\.(?!layer5)"),
)
