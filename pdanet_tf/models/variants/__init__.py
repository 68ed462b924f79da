"""Networks of other packages that differ from ours, in files that begin with the package's name."""

from pdanet_tf.models.variants import mmsegmentation, mmsegmentation_deeplab, smp, torchvision

__all__ = ["mmsegmentation", "mmsegmentation_deeplab", "smp", "torchvision"]
