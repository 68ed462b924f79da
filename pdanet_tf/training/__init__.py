"""Training: a configuration in, checkpoints and scores out."""

from pdanet_tf.training.callbacks import NonFiniteLossError
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.train import TrainResult, train

__all__ = ["NonFiniteLossError", "TrainConfig", "TrainResult", "train"]
