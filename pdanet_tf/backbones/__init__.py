"""Backbones: functional models from normalised images to a dict of the stages "C1" to "C5"."""

from pdanet_tf.backbones.mobilenet import mobilenetv2
from pdanet_tf.backbones.parts import freeze
from pdanet_tf.backbones.registry import RESNETS, VGG16, Backbone
from pdanet_tf.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from pdanet_tf.backbones.stages import as_backbone, output_grids, stage_strides
from pdanet_tf.backbones.vgg import vgg16
from pdanet_tf.base.lazy import lazy_attributes

__all__ = [
    "RESNETS",
    "VGG16",
    "Backbone",
    "as_backbone",
    "freeze",
    "mobilenetv2",
    "output_grids",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "stage_strides",
    "vgg16",
]

__getattr__ = lazy_attributes(__name__)
