"""torchvision: `fcn` and `deeplabv3` on ResNet50 and ResNet101, and its ResNets alone."""

import re
from collections.abc import Iterable

from pdanet_tf.weights.sources.resnet import resnet_module, resnet_name
from pdanet_tf.weights.sources.source import Architecture, Source, State, count_classes, split_path

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


def _recognises(state: State) -> bool:
    return any(name.startswith("backbone.") for name in state) and any(
        name.startswith("classifier.") for name in state
    )


def _architecture(state: State) -> Architecture:
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
)
