"""Training: a configuration in, checkpoints and scores out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pdanet_tf.training.callbacks import NonFiniteLossError, TrainingInterrupted
from pdanet_tf.training.config import TrainConfig

if TYPE_CHECKING:
    from pdanet_tf.training.train import TrainResult, resume, train

__all__ = [
    "NonFiniteLossError",
    "TrainConfig",
    "TrainResult",
    "TrainingInterrupted",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    # What needs TensorFlow is imported when it is used.
    if name in ("TrainResult", "resume", "train"):
        module = import_module("pdanet_tf.training.train")
        value = globals()[name] = getattr(module, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
