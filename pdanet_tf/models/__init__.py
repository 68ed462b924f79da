"""Models: one family per file, all built through `build_model`."""

from pdanet_tf.models.build import build_model
from pdanet_tf.models.danet import danet_resnet18
from pdanet_tf.models.fcn import fcn_resnet18
from pdanet_tf.models.pdanet import pdanet_resnet18
from pdanet_tf.models.pspnet import pspnet_resnet18
from pdanet_tf.models.registry import list_models

__all__ = [
    "build_model",
    "danet_resnet18",
    "fcn_resnet18",
    "list_models",
    "pdanet_resnet18",
    "pspnet_resnet18",
]
