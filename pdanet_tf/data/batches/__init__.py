"""Batches for training: two recipes (`crop`, `paper`), and the tf.data pipeline of both."""

from pdanet_tf.base.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__)
