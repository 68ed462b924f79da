"""Networks that differ from ours: of other packages, and as they were published.

There is one file for each package, and one for each kind of published networks.
"""

from pdanet_tf.models.variants import (
    published_deeplab,
    published_dilation,
    published_fcn,
    published_segnet,
    torchvision,
)

__all__ = [
    "published_deeplab",
    "published_dilation",
    "published_fcn",
    "published_segnet",
    "torchvision",
]
