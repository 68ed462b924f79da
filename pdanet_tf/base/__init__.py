"""Helpers that every package uses. They import neither Keras nor TensorFlow."""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
