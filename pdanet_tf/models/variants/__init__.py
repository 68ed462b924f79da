"""Networks that differ from ours: of other packages, and as they were published.

The files begin with the name of the package, or with "published".
"""

from pdanet_tf.models.variants import (
    mmsegmentation,
    mmsegmentation_deeplab,
    published_deeplab,
    published_dilation,
    published_fcn,
    published_segnet,
    smp,
    torchvision,
)

__all__ = [
    "mmsegmentation",
    "mmsegmentation_deeplab",
    "published_deeplab",
    "published_dilation",
    "published_fcn",
    "published_segnet",
    "smp",
    "torchvision",
]
