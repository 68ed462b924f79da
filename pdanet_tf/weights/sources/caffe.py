"""Networks that were trained with Caffe, under Caffe's names of their layers.

wkentaro's `torchfcn` names its layers so, as do converters of `.caffemodel` files to PyTorch:
"conv1_1.weight", "conv1_1.bias", "fc6.weight". The networks are the variants "published".
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from pdanet_tf.weights.sources.source import (
    COUNTERS,
    Architecture,
    Source,
    State,
    count_classes,
    split_path,
)

_VGG_LAYER = re.compile(r"block(\d)_conv(\d)")
_BACKBONE = re.compile(r"conv\d_\d\.")
_UPSAMPLING = re.compile(r"(upscore\w*|ctx_upsample)\.weight$")
_FIRST_KERNEL = "conv1_1.weight"
_FCN = {
    "fc6": "fc6",
    "fc7": "fc7",
    "classifier": "score_fr",
    "c4_classifier": "score_pool4",
    "c3_classifier": "score_pool3",
}
_DILATION = {"fc6": "fc6", "fc7": "fc7", "classifier": "final", "context/projection": "ctx_final"}
# The layer fc8_voc12 of LargeFOV, and the layers fc8_voc12_1 to 4 of DeepLab v2.
_CLASSIFIER = re.compile(r"fc8_[a-zA-Z]\w*?(_[1-4])?(?=\.(weight|bias)$)")
_SINGLE_CLASSIFIER = re.compile(r"fc8_[a-zA-Z]\w*?(?<!_[1-4])\.weight$")
# The last block of convolutions before ctx_fc1, by the number of layers of the context module.
_CONTEXT_LAYERS = {4: 7, 5: 8, 7: 10}


def _published(name: str, num_classes: int, **options: object) -> Architecture:
    return Architecture(
        name, num_classes, variant="published", normalization="caffe", options=options
    )


def _vgg_names(paths: Iterable[str], head: Mapping[str, str]) -> dict[str, str]:
    """Returns Caffe's names for the paths of VGG16 and of the layers of a head."""
    names = {}
    for path in paths:
        layer, variable = split_path(path)
        if match := _VGG_LAYER.fullmatch(layer):
            names[path] = f"conv{match[1]}_{match[2]}.{variable}"
        elif layer in head:
            names[path] = f"{head[layer]}.{variable}"
    return names


def _check_upsampling(state: State) -> None:
    """Raises if a checkpoint has trained kernels of transposed convolutions."""
    for name, array in state.items():
        if not _UPSAMPLING.match(name):
            continue
        filters, *_, side = array.shape
        taps = 1 - np.abs(np.arange(side) - (side - 1) / 2) / (side / 2)
        kernel = np.zeros(array.shape)
        channel = np.arange(filters)
        # The kernel of a convolution by groups has one input channel.
        kernel[channel, channel if array.shape[1] == filters else 0] = np.outer(taps, taps)
        if side % 2 or not np.allclose(array, kernel, atol=1e-4):
            raise ValueError(
                f"its transposed convolution {name.removesuffix('.weight')} is not bilinear. The "
                "published networks, and those here, have fixed bilinear ones"
            )


def _fcn_architecture(state: State) -> Architecture:
    if "score_fr.weight" not in state:
        raise ValueError("the networks of SIFT Flow, with a second head for geometry, are not here")
    if _FIRST_KERNEL not in state:
        raise ValueError("of the FCNs only those on VGG16 are here, and this is not one")
    _check_upsampling(state)
    skips = [stage for stage in (3, 4) if f"score_pool{stage}.weight" in state]
    family = {(): "fcn32s", (4,): "fcn16s", (3, 4): "fcn8s"}.get(tuple(skips))
    if family is None:
        raise ValueError("it has the scores of pool3, but not those of pool4")
    return _published(f"{family}_vgg16", count_classes(state, "score_fr.weight"))


FCN = Source(
    "torchfcn, or the FCNs of Long et al. in Caffe's names",
    lambda state: any(name.startswith("score_fr") for name in state),
    _fcn_architecture,
    lambda paths: _vgg_names(paths, _FCN),
    backbone=_BACKBONE,
    unused=re.compile(f"{COUNTERS.pattern}|{_UPSAMPLING.pattern}"),
)


def _prepare_dilation(state: State) -> State:
    """Gives the layers of the network for Pascal VOC the names of the other networks."""
    return {re.sub(r"^ct_", "ctx_", re.sub(r"^fc-", "", name)): state[name] for name in state}


def _dilation_architecture(state: State) -> Architecture:
    if _FIRST_KERNEL not in state:
        raise ValueError("it lacks the front end: only whole networks are here")
    num_classes = count_classes(state, "final.weight")
    blocks = [int(found[1]) for name in state if (found := re.match(r"ctx_conv(\d)_1\.w", name))]
    if not blocks:
        return _published("dilation_frontend_vgg16", num_classes)
    _check_upsampling(state)
    layers = _CONTEXT_LAYERS.get(max(blocks))
    width = state["ctx_conv1_1.weight"].shape[0] / num_classes
    if layers is None or (width, layers) not in ((1, 7), (1, 8), (1, 10), (2, 8)):
        raise ValueError(
            "the context modules here are those of dilation7, dilation8 and dilation10, with as "
            "many channels as classes, and that of dilation8 for Pascal VOC, with twice as many. "
            f"This one has {max(blocks)} blocks, and {width:g} channels for each class at first"
        )
    name = "dilation_basic_vgg16" if width == 1 else "dilation_large_vgg16"
    options = {} if layers == 8 else {"context_layers": layers}
    return _published(name, num_classes, **options)


def _dilation_names(paths: Iterable[str]) -> dict[str, str]:
    paths = list(paths)
    convs = sorted(
        {int(found[1]) for path in paths if (found := re.match(r"context/conv_(\d+)/", path))}
    )
    # conv1_1, conv1_2, conv2_1, conv3_1, ..., fc1
    modules = ["conv1_1", "conv1_2", *(f"conv{index}_1" for index in convs[2:-1]), "fc1"]
    context = {
        f"context/conv_{index}": f"ctx_{module}"
        for index, module in zip(convs, modules, strict=False)
    }
    return _vgg_names(paths, {**_DILATION, **context})


DILATION = Source(
    "the dilated networks of Yu and Koltun in Caffe's names",
    lambda state: "final.weight" in state and "fc7.weight" in state,
    _dilation_architecture,
    _dilation_names,
    backbone=_BACKBONE,
    unused=re.compile(f"{COUNTERS.pattern}|{_UPSAMPLING.pattern}"),
    prepare=_prepare_dilation,
)


def _prepare_deeplab(state: State) -> State:
    """Removes the name of the data set from fc8, and numbers the layers of a single branch."""
    prepared = {}
    is_single = any(_SINGLE_CLASSIFIER.match(name) for name in state)
    for name, array in state.items():
        if match := _CLASSIFIER.match(name):
            name = f"fc8{match[1] or '_1'}{name[match.end() :]}"
        elif is_single:
            name = re.sub(r"^(fc[67])\.", r"\1_1.", name)
        prepared[name] = array
    return prepared


def _deeplab_architecture(state: State) -> Architecture:
    if _FIRST_KERNEL not in state:
        raise ValueError("in Caffe's names, only DeepLab on VGG16 is here")
    branches = sum(f"fc8_{index}.weight" in state for index in range(1, 5))
    kernel = state.get("fc6_1.weight")
    shape = None if kernel is None else kernel.shape
    if shape != (1024, 512, 3, 3) or branches not in (1, 4):
        raise ValueError(
            "of DeepLab on VGG16 only LargeFOV and the four branches of v2 are here, whose fc6 is "
            f"a 3 x 3 convolution of 1024 channels. This one has {branches} branches, and the "
            f"kernel of fc6 has the shape {shape}"
        )
    family = "deeplab_largefov" if branches == 1 else "deeplabv2"
    return _published(f"{family}_vgg16", count_classes(state, "fc8_1.weight"))


def _deeplab_names(paths: Iterable[str]) -> dict[str, str]:
    layers = {"fc6": "fc6", "fc7": "fc7", "classifier": "fc8"}
    head = {
        f"branch_{index}_{layer}": f"{name}_{index + 1}"
        for index in range(4)
        for layer, name in layers.items()
    }
    return _vgg_names(paths, head)


DEEPLAB = Source(
    "DeepLab on VGG16 in Caffe's names",
    lambda state: any(re.match(r"fc8_[1-4]\.weight", name) for name in state),
    _deeplab_architecture,
    _deeplab_names,
    backbone=_BACKBONE,
    prepare=_prepare_deeplab,
)
