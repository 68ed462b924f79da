"""Sharing trained models with others: `push` writes one to a repository of Hugging Face."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.sharing.pushing import push

__all__ = ["push"]

__getattr__ = lazy_attributes(__name__, {"push": "pdanet_tf.sharing.pushing"})
