"""Models: one file for each family, all built by `build_model`."""

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.models import variants
from pdanet_tf.models.build import build_model
from pdanet_tf.models.danet import danet
from pdanet_tf.models.deeplab import deeplab_largefov, deeplabv2, deeplabv3, deeplabv3plus
from pdanet_tf.models.dilation import dilation_basic, dilation_frontend, dilation_large
from pdanet_tf.models.fcn import fcn
from pdanet_tf.models.fcn_vgg import fcn8s, fcn16s, fcn32s
from pdanet_tf.models.pdanet import pdanet
from pdanet_tf.models.pspnet import pspnet
from pdanet_tf.models.registry import list_models
from pdanet_tf.models.segnet import segnet
from pdanet_tf.models.transforms import fold_batch_norm, with_dtype_policy
from pdanet_tf.models.upernet import upernet

__all__ = [
    "build_model",
    "danet",
    "deeplab_largefov",
    "deeplabv2",
    "deeplabv3",
    "deeplabv3plus",
    "dilation_basic",
    "dilation_frontend",
    "dilation_large",
    "fcn",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "fold_batch_norm",
    "list_models",
    "pdanet",
    "pspnet",
    "segnet",
    "upernet",
    "variants",
    "with_dtype_policy",
]

__getattr__ = lazy_attributes(__name__)
