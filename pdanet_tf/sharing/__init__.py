"""Sharing trained models: `write_card` writes a model card, `push` pushes to Hugging Face."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.sharing.card import write_card
    from pdanet_tf.sharing.facts import CardFacts, Measurement
    from pdanet_tf.sharing.pushing import push

__all__ = ["CardFacts", "Measurement", "push", "write_card"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "CardFacts": "pdanet_tf.sharing.facts",
        "Measurement": "pdanet_tf.sharing.facts",
        "push": "pdanet_tf.sharing.pushing",
        "write_card": "pdanet_tf.sharing.card",
    },
)
