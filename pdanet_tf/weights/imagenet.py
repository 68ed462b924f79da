"""Weights of other makers' backbones, name to name, with nothing left over."""

import re

import keras
import numpy as np

from pdanet_tf.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from pdanet_tf.backbones.vgg import vgg16
from pdanet_tf.weights.assign import assign_weights
from pdanet_tf.weights.published import DEEP_STEM_RESNETS, fetch
from pdanet_tf.weights.torch import import_torch, load_torch_backbone, read_torch_file

# Who builds a backbone, and what KerasHub calls its weights. KerasHub's own presets are timm's
# "a1_in1k"; it has none for ResNet34, but converts timm's while it loads.
_RESNETS = {
    "resnet18": (resnet18, "resnet_18_imagenet"),
    "resnet34": (resnet34, "hf://timm/resnet34.a1_in1k"),
    "resnet50": (resnet50, "resnet_50_imagenet"),
    "resnet101": (resnet101, "resnet_101_imagenet"),
}
_KERAS_HUB_LAYER = re.compile(r"(?:conv1|stack(\d+)_block(\d+)_(\d))_(conv|bn)")
_PARTS = {"conv": "conv", "bn": "batch_norm"}


def imagenet_weights(backbone: keras.Model, name: str) -> None:
    """Loads weights trained on ImageNet; they are downloaded where they are not in the cache.

    Those of ResNets with the 7 x 7 stem are what Wightman et al. 2021 ("ResNet strikes back",
    procedure A1) publish in timm and KerasHub redistributes. Those of ResNets with the deep stem
    are CSAIL's, which the reference's training begins with. VGG16's are those of
    `keras.applications`. The ResNets expect images normalised as `"torch"`, VGG16 as `"caffe"`;
    see `pdanet_tf.layers.PixelNormalization`.

    Args:
        backbone: A backbone of `pdanet_tf.backbones`, of any output stride.
        name: The function that built it: `"resnet18"`, `"resnet34"`, `"resnet50"`, `"resnet101"`
            or `"vgg16"`.

    Raises:
        ValueError: If there are no weights of that name, or the backbone is of another kind;
            nothing is downloaded then. There are none for ResNet34 with the deep stem.
        ImportError: If KerasHub, which ResNets with the 7 x 7 stem need, or PyTorch, which those
            with the deep stem need, is not installed (extras `keras-hub` and `torch`).
        OSError: If a file cannot be downloaded.

    Example:
        ```python
        backbone = pdanet_tf.backbones.resnet50(stem="7x7")
        imagenet_weights(backbone, "resnet50")
        model = pdanet_tf.build_model("pdanet_resnet50", backbone=backbone)
        ```
    """
    if name == "vgg16":
        _require_kind(backbone, vgg16(), name)
        source = keras.applications.VGG16(include_top=False, weights="imagenet")
        load_keras_vgg16(backbone, source)
        return
    if name not in _RESNETS:
        raise ValueError(
            f"There are ImageNet weights for {', '.join([*_RESNETS, 'vgg16'])}. "
            f"Received: name={name!r}"
        )
    build, preset = _RESNETS[name]
    if "stem_conv3/conv/kernel" in _shapes(backbone):
        _require_kind(backbone, build(stem="deep"), name)
        _load_deep_stem(backbone, name)
        return
    _require_kind(backbone, build(stem="7x7"), name)
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "ImageNet weights of the ResNets come from KerasHub: install pdanet_tf with the extra "
            "'keras-hub'."
        ) from error
    # Whatever the policy here, no digit of the weights is to be lost on the way.
    source = keras_hub.models.ResNetBackbone.from_preset(preset, dtype="float32")
    load_keras_hub_resnet(backbone, source)


def _load_deep_stem(backbone: keras.Model, name: str) -> None:
    if name not in DEEP_STEM_RESNETS:
        raise ValueError(
            f"There are no ImageNet weights for {name} with the deep stem, only for "
            f'{", ".join(DEEP_STEM_RESNETS)}: pass stem="7x7".'
        )
    import_torch()  # before anything is downloaded
    load_torch_backbone(backbone, read_torch_file(fetch(DEEP_STEM_RESNETS[name])))


def load_keras_hub_resnet(backbone: keras.Model, source: keras.Model) -> None:
    """Copies the weights of a KerasHub ResNet into one of ours.

    Both pad symmetrically, halve the resolution in the 3 x 3 convolution of a bottleneck, and
    normalise with an epsilon of 1e-5, so that the features of C2 to C5 are the same at output
    stride 32, for every size of image.

    Args:
        backbone: A ResNet of `pdanet_tf.backbones` with `stem="7x7"`, of any output stride.
        source: A `keras_hub.models.ResNetBackbone` of the same depth, of the first version:
            `use_pre_activation=False`, and a block type without "vd".

    Raises:
        ValueError: If weights are missing, left over or misshapen. All are listed, and nothing
            is loaded.
    """
    arrays = {_our_path(path): array for path, array in _arrays(source).items()}
    assign_weights(backbone, arrays, source=f"KerasHub's {source.name!r}")


def load_keras_vgg16(backbone: keras.Model, source: keras.Model) -> None:
    """Copies the weights of a VGG16 of `keras.applications` into one of ours.

    At output stride 32, the features are the same where the sides of the image are multiples of
    32. Elsewhere its pools drop the last row or column, and ours do not.

    Args:
        backbone: A model of `pdanet_tf.backbones.vgg16`, of any output stride.
        source: A `keras.applications.VGG16(include_top=False)`.

    Raises:
        ValueError: If weights are missing, left over or misshapen. All are listed, and nothing
            is loaded.
    """
    assign_weights(backbone, _arrays(source), source=f"Keras' {source.name!r}")


def _our_path(path: str) -> str:
    layer, _, variable = path.rpartition("/")
    match = _KERAS_HUB_LAYER.fullmatch(layer)
    if match is None:
        return path  # it is then reported as unexpected
    stack, block, index, part = match.groups()
    if stack is None:
        ours = "stem_conv1"
    else:
        branch = "shortcut" if index == "0" else f"conv{index}"
        ours = f"c{int(stack) + 2}_block{int(block) + 1}_{branch}"
    return f"{ours}/{_PARTS[part]}/{variable}"


def _require_kind(backbone: keras.Model, expected: keras.Model, name: str) -> None:
    if _shapes(backbone) != _shapes(expected):
        raise ValueError(
            f"The ImageNet weights of {name} are for a backbone of pdanet_tf.backbones.{name}. "
            f"Received: {backbone.name!r}, which has other layers"
        )


def _shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def _arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
