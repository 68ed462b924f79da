"""torchvision: `fcn` and `deeplabv3` on ResNet50 and ResNet101, and its ResNets alone."""

import re
from collections.abc import Iterable

from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name, resnet_stem
from pdanet_tf.weights.sources.source import (
    COUNTERS,
    Architecture,
    Source,
    State,
    count_classes,
    split_path,
)

_FCN = {"head_conv/conv": "0", "head_conv/batch_norm": "1", "classifier": "4"}
_DEEPLAB = {
    "aspp/branch_0/conv": "0.convs.0.0",
    "aspp/branch_0/batch_norm": "0.convs.0.1",
    "aspp/branch_1/conv": "0.convs.1.0",
    "aspp/branch_1/batch_norm": "0.convs.1.1",
    "aspp/branch_2/conv": "0.convs.2.0",
    "aspp/branch_2/batch_norm": "0.convs.2.1",
    "aspp/branch_3/conv": "0.convs.3.0",
    "aspp/branch_3/batch_norm": "0.convs.3.1",
    "aspp/image_branch/conv": "0.convs.4.1",
    "aspp/image_branch/batch_norm": "0.convs.4.2",
    "aspp/projection/conv": "0.project.0",
    "aspp/projection/batch_norm": "0.project.1",
    "head_conv/conv": "1",
    "head_conv/batch_norm": "2",
    "classifier": "4",
}
_AUXILIARY = {
    "aux_head/conv/conv": "0",
    "aux_head/conv/batch_norm": "1",
    "aux_head/classifier": "4",
}


_PARTS = {"backbone", "classifier", "aux_classifier"}
_FIRST_BLOCK = "layer1.0.conv1.weight"


def _prepare(state: State) -> State:
    """Returns the checkpoint of a ResNet alone under the names that it has inside a model."""
    if _FIRST_BLOCK not in state:
        return state
    return {f"backbone.{name}": array for name, array in state.items()}


def _recognises(state: State) -> bool:
    beginnings = {name.partition(".")[0] for name in state}
    is_known = "classifier" in beginnings or f"backbone.{_FIRST_BLOCK}" in state
    return is_known and "backbone" in beginnings and beginnings <= _PARTS


def _architecture(state: State) -> Architecture:
    if all(name.startswith("backbone.") for name in state):
        stem = resnet_stem(state, "backbone.")
        raise ValueError(
            f"it holds the backbone {resnet_name(state, 'backbone.')} (stem={stem!r}) alone. Build "
            "the model without weights, and load them with "
            "pdanet_tf.weights.files.load_weights(model, file, strict=False). If the rest is in "
            "another file, as that of the reference's models is, convert both files together"
        )
    classifier = "classifier.4.weight"
    if classifier not in state:
        raise ValueError(
            "of its segmentation models only FCN and DeepLabV3 are here, whose last layer is "
            "classifier.4"
        )
    family = "deeplabv3" if "classifier.0.project.0.weight" in state else "fcn"
    return Architecture(
        f"{family}_{resnet_name(state, 'backbone.')}",
        count_classes(state, classifier),
        variant="torchvision",
        output_stride=8,
        aux_head=any(name.startswith("aux_classifier.") for name in state),
        normalization="torch",
    )


def _names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    head = _DEEPLAB if any(path.startswith("aspp/") for path in paths) else _FCN
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if module := resnet_module(layer):
            names[path] = f"backbone.{module}.{variable}"
        elif layer in head:
            names[path] = f"classifier.{head[layer]}.{variable}"
        elif layer in _AUXILIARY:
            names[path] = f"aux_classifier.{_AUXILIARY[layer]}.{variable}"
    return names


TORCHVISION = Source(
    "torchvision",
    _recognises,
    _architecture,
    _names,
    backbone=re.compile(r"backbone\."),
    auxiliary=re.compile(r"aux_classifier\."),
    unused=re.compile(rf"{COUNTERS.pattern}|^backbone\.fc\."),
    prepare=_prepare,
)
