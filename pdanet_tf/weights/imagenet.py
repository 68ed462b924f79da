"""ImageNet weights for backbones, mapped by name; no weight may be left over."""

import re

import keras
import numpy as np

from pdanet_tf.backbones.registry import PRETRAINED, Backbone, WeightsSource
from pdanet_tf.base.choices import STEMS
from pdanet_tf.weights.assign import assign_weights
from pdanet_tf.weights.published import PublishedFile
from pdanet_tf.weights.published_files import fetch
from pdanet_tf.weights.torch import import_torch, load_torch_backbone, read_torch_file

_KERAS_HUB_LAYER = re.compile(r"(?:conv1|stack(\d+)_block(\d+)_(\d))_(conv|bn)")
_PARTS = {"conv": "conv", "bn": "batch_norm"}


def imagenet_weights(backbone: keras.Model, name: str) -> None:
    """Loads weights trained on ImageNet into a backbone. Files that are not cached are downloaded.

    The weights of ResNets with the 7 x 7 stem are those of Wightman et al. 2021 ("ResNet strikes
    back", procedure A1), which timm publishes and KerasHub redistributes. The weights of ResNets
    with the deep stem are CSAIL's, which the reference's training starts from. The weights of
    VGG16 are those of `keras.applications`. The ResNets expect images normalised as `"torch"`,
    VGG16 as `"caffe"`; see `pdanet_tf.layers.PixelNormalization`.

    Args:
        backbone: A backbone of `pdanet_tf.backbones`, of any output stride.
        name: Name of the function that built it: `"resnet18"`, `"resnet34"`, `"resnet50"`,
            `"resnet101"` or `"vgg16"`.

    Raises:
        ValueError: If there are no weights of that name, or the backbone is of another kind;
            nothing is downloaded then. There are none for ResNet34 with the deep stem.
        ImportError: If a required package is not installed: KerasHub for ResNets with the 7 x 7
            stem (extra `keras-hub`), PyTorch for those with the deep stem (extra `torch`).
        OSError: If a file cannot be downloaded.

    Example:
        ```python
        backbone = pdanet_tf.backbones.resnet50(stem="7x7")
        imagenet_weights(backbone, "resnet50")
        model = pdanet_tf.build_model("pdanet_resnet50", backbone=backbone)
        ```
    """
    if name not in PRETRAINED:
        raise ValueError(
            f"There are ImageNet weights for {', '.join(PRETRAINED)}. Received: name={name!r}"
        )
    entry = PRETRAINED[name]
    stem = _find_stem(backbone, entry, name)
    load_imagenet_weights(backbone, weights_source(name, entry, stem))


def weights_source(name: str, entry: Backbone, stem: str | None) -> WeightsSource:
    """Returns the source of a backbone's ImageNet weights.

    Args:
        name: Name of the backbone, for the message.
        entry: The backbone.
        stem: Its stem; None if it has no choice of stem.

    Raises:
        ValueError: If there are no ImageNet weights for this backbone and stem.
    """
    if stem in entry.weights:
        return entry.weights[stem]
    others = [each for each, other in PRETRAINED.items() if stem in other.weights]
    only = f", only for {', '.join(others)}" if others else ""
    stems = " or ".join(f'stem="{each}"' for each in entry.weights)
    raise ValueError(
        f"There are no ImageNet weights for {name} with the {stem} stem{only}: pass {stems}."
    )


def load_imagenet_weights(backbone: keras.Model, source: WeightsSource) -> None:
    """Loads ImageNet weights from a source into a backbone.

    Args:
        backbone: A backbone of `pdanet_tf.backbones`.
        source: Where its weights come from.

    Raises:
        ImportError: If the package that reads the weights is not installed.
        OSError: If a file cannot be downloaded.
        ValueError: If the weights do not fit; nothing is loaded then.
    """
    _LOADERS[source.reader](backbone, source.name)


def _load_from_keras_hub(backbone: keras.Model, preset: str) -> None:
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "ImageNet weights of the ResNets come from KerasHub: install pdanet_tf with the extra "
            "'keras-hub'."
        ) from error
    # Under a policy of half precision, the weights would lose digits.
    source = keras_hub.models.ResNetBackbone.from_preset(preset, dtype="float32")
    load_keras_hub_resnet(backbone, source)


def _load_from_keras_applications(backbone: keras.Model, name: str) -> None:
    build = getattr(keras.applications, name)
    load_keras_vgg16(backbone, build(include_top=False, weights="imagenet"))


def _load_from_torch(backbone: keras.Model, url: str) -> None:
    import_torch()  # before anything is downloaded
    load_torch_backbone(backbone, read_torch_file(fetch(PublishedFile(url))))


_LOADERS = {
    "keras_hub": _load_from_keras_hub,
    "keras_applications": _load_from_keras_applications,
    "torch": _load_from_torch,
}


def load_keras_hub_resnet(backbone: keras.Model, source: keras.Model) -> None:
    """Copies the weights of a KerasHub ResNet into a ResNet of this package.

    Both networks pad symmetrically, halve the resolution in the 3 x 3 convolution of a bottleneck,
    and use a batch norm epsilon of 1e-5. At output stride 32 the features of C2 to C5 are therefore
    the same, for images of any size.

    Args:
        backbone: A ResNet of `pdanet_tf.backbones` with `stem="7x7"`, of any output stride.
        source: A `keras_hub.models.ResNetBackbone` of the same depth, of the first version:
            `use_pre_activation=False`, and a block type without "vd".

    Raises:
        ValueError: If weights are missing, left over or have the wrong shape. The message lists
            the first of each kind, and nothing is loaded.
    """
    arrays = {_our_path(path): array for path, array in _arrays(source).items()}
    assign_weights(backbone, arrays, source=f"KerasHub's {source.name!r}")


def load_keras_vgg16(backbone: keras.Model, source: keras.Model) -> None:
    """Copies the weights of a VGG16 of `keras.applications` into a VGG16 of this package.

    At output stride 32 the features are the same if the sides of the image are multiples of 32.
    For other sizes, the pools of `keras.applications` drop the last row or column; those of this
    package do not.

    Args:
        backbone: A model of `pdanet_tf.backbones.vgg16`, of any output stride.
        source: A `keras.applications.VGG16(include_top=False)`.

    Raises:
        ValueError: If weights are missing, left over or have the wrong shape. The message lists
            the first of each kind, and nothing is loaded.
    """
    assign_weights(backbone, _arrays(source), source=f"Keras' {source.name!r}")


def _our_path(path: str) -> str:
    """Returns the path that a variable of KerasHub's ResNets has in this package."""
    layer, _, variable = path.rpartition("/")
    match = _KERAS_HUB_LAYER.fullmatch(layer)
    if match is None:
        return path  # `assign_weights` then reports it as unexpected
    stack, block, index, part = match.groups()
    if stack is None:
        ours = "stem_conv1"
    else:
        branch = "shortcut" if index == "0" else f"conv{index}"
        ours = f"c{int(stack) + 2}_block{int(block) + 1}_{branch}"
    return f"{ours}/{_PARTS[part]}/{variable}"


def _find_stem(backbone: keras.Model, entry: Backbone, name: str) -> str | None:
    """Returns the stem of a backbone; None if backbones of its kind have no choice of stem.

    Raises:
        ValueError: If the backbone is not of the kind that `entry` builds.
    """
    stems = STEMS if "stem" in entry.options else (None,)
    for stem in stems:
        expected = entry() if stem is None else entry(stem=stem)
        if _shapes(backbone) == _shapes(expected):
            return stem
    raise ValueError(
        f"The ImageNet weights of {name} are for a backbone of pdanet_tf.backbones.{name}. "
        f"Received: {backbone.name!r}, which has other layers"
    )


def _shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def _arrays(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
