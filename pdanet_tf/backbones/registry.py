"""The backbones, and the facts about them that other modules need."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from pdanet_tf.backbones.mobilenet import mobilenetv2
from pdanet_tf.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from pdanet_tf.backbones.vgg import vgg16

_CSAIL = "http://sceneparsing.csail.mit.edu/model/pretrained_resnet"
_READERS = ("keras_hub", "keras_applications", "torch")


@dataclass(frozen=True)
class WeightsSource:
    """Where trained weights of a backbone come from.

    Attributes:
        reader: What reads them: `"keras_hub"`, `"keras_applications"` or `"torch"`.
        name: A preset of KerasHub, a function of `keras.applications`, or the URL of a PyTorch
            state dict in the layout of torchvision's ResNets.

    Raises:
        ValueError: If there is no such reader.
    """

    reader: str
    name: str

    def __post_init__(self) -> None:
        if self.reader not in _READERS:
            raise ValueError(f"reader must be one of {_READERS}. Received: reader={self.reader!r}")


@dataclass(frozen=True)
class Backbone:
    """A backbone, and the facts about it.

    Calling it builds the backbone: `RESNETS["resnet18"](stem="7x7")`.

    Attributes:
        build: Function that builds the backbone: a model from normalised images
            `(batch, height, width, 3)` to a dict of the stages "C1" to "C5". Users of
            `build_model` can choose `output_stride` and `stem` if the function has these
            parameters, and other images than RGB if it has the parameter `channels`.
        weights: The sources of ImageNet weights, by stem; by None for a backbone without a choice
            of stem. The first stem is the default with ImageNet weights. Empty if there are no
            weights.
        normalization: The normalisation of pixels that the ImageNet weights expect, see
            `pdanet_tf.layers.PixelNormalization`.
        fixed: Options that `build` is called with, and that users cannot choose.
    """

    build: Callable[..., keras.Model]
    weights: Mapping[str | None, WeightsSource] = field(default_factory=dict)
    normalization: str = "torch"
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> keras.Model:
        """Builds the backbone."""
        return self.build(**self.fixed, **options)

    @property
    def options(self) -> list[str]:
        """Names of the options to choose from, besides its name and the images' channels."""
        parameters = inspect.signature(self.build).parameters
        return [name for name in parameters if name not in ("name", "channels", *self.fixed)]

    @property
    def takes_channels(self) -> bool:
        """Whether `build` takes the number of channels of the images."""
        return "channels" in inspect.signature(self.build).parameters

    def with_defaults(self, **options: Any) -> "Backbone":
        """Returns the same backbone with other default values of its options."""
        return dataclasses.replace(self, build=functools.partial(self.build, **options))

    def with_fixed(self, **options: Any) -> "Backbone":
        """Returns the same backbone with options that users cannot choose, such as the stem.

        It has the ImageNet weights of that stem only.
        """
        weights = self.weights
        if "stem" in options:
            weights = {None: weights[options["stem"]]} if options["stem"] in weights else {}
        return dataclasses.replace(self, weights=weights, fixed={**self.fixed, **options})


def _resnet(
    build: Callable[..., keras.Model], preset: str, *, deep_weights: bool = True
) -> Backbone:
    """Returns a ResNet's entry.

    Args:
        build: Function that builds it.
        preset: KerasHub's name of the ImageNet weights for the 7 x 7 stem.
        deep_weights: Whether CSAIL has published ImageNet weights for the deep stem.
    """
    weights: dict[str | None, WeightsSource] = {"7x7": WeightsSource("keras_hub", preset)}
    if deep_weights:
        url = f"{_CSAIL}/{build.__name__}-imagenet.pth"
        weights["deep"] = WeightsSource("torch", url)
    return Backbone(build, weights)


# KerasHub's own presets are timm's "a1_in1k". KerasHub has none for ResNet34, but converts timm's
# weights when it loads them.
RESNETS: dict[str, Backbone] = {
    "resnet18": _resnet(resnet18, "resnet_18_imagenet"),
    "resnet34": _resnet(resnet34, "hf://timm/resnet34.a1_in1k", deep_weights=False),
    "resnet50": _resnet(resnet50, "resnet_50_imagenet"),
    "resnet101": _resnet(resnet101, "resnet_101_imagenet"),
}


def _narrow(word: str, width: float) -> dict[str, Backbone]:
    """Returns ResNet18 with a share of the channels, which has no ImageNet weights."""
    name = f"resnet18_{word}"
    return {name: Backbone(functools.partial(resnet18, name=name, width=width))}


HALF_RESNETS = _narrow("half", 0.5)
QUARTER_RESNETS = _narrow("quarter", 0.25)
MOBILENETS = {"mobilenetv2": Backbone(mobilenetv2)}
VGG16 = Backbone(vgg16, {None: WeightsSource("keras_applications", "VGG16")}, "caffe")
# Backbones that have ImageNet weights.
PRETRAINED: dict[str, Backbone] = {**RESNETS, "vgg16": VGG16}
