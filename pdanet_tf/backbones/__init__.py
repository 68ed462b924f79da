"""Backbones: functional models from normalised images to a dict of the stages "C1" to "C5"."""

from pdanet_tf.backbones.resnet import resnet18

__all__ = ["resnet18"]
