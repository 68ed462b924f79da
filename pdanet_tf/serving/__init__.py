"""Asks a server for label maps: TensorFlow Serving, or one that speaks the Open Inference Protocol.

Nothing here imports Keras or TensorFlow. The extra `serving` names the packages that are needed.
"""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.serving.client import Client
    from pdanet_tf.serving.errors import RequestError, ServingError

__all__ = ["Client", "RequestError", "ServingError"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Client": "pdanet_tf.serving.client",
        "RequestError": "pdanet_tf.serving.errors",
        "ServingError": "pdanet_tf.serving.errors",
    },
)
