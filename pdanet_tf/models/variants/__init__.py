"""Networks of other packages that differ from ours: one file for each package."""

from pdanet_tf.models.variants import mmsegmentation, smp, torchvision

__all__ = ["mmsegmentation", "smp", "torchvision"]
