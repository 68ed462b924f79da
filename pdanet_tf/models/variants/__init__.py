"""Networks of other packages that differ from ours: one file for each package."""

from pdanet_tf.models.variants import torchvision

__all__ = ["torchvision"]
