"""Sources of images and label maps: folders, drawn scenes, CamVid, ADE20K."""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
