"""Weights from files, from the network and from other libraries, mapped by name."""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
