"""Training: from a configuration to checkpoints and scores.

The function is `pdanet_tf.train`. It requires Keras' TensorFlow or JAX backend, and TensorFlow for
the loader; `TrainConfig` requires neither.
"""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.training.config import TrainConfig

if TYPE_CHECKING:
    from pdanet_tf.training.callbacks import NonFiniteLossError, TrainingInterrupted
    from pdanet_tf.training.run import TrainResult, resume
    from pdanet_tf.training.termination import TrainingTerminated

__all__ = [
    "NonFiniteLossError",
    "TrainConfig",
    "TrainResult",
    "TrainingInterrupted",
    "TrainingTerminated",
    "resume",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "NonFiniteLossError": "pdanet_tf.training.callbacks",
        "TrainResult": "pdanet_tf.training.run",
        "TrainingInterrupted": "pdanet_tf.training.callbacks",
        "TrainingTerminated": "pdanet_tf.training.termination",
        "resume": "pdanet_tf.training.run",
    },
)
