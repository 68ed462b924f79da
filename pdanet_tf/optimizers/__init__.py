"""Optimizers whose steps are those of PyTorch, and a schedule with a warm-up."""

from pdanet_tf.optimizers.adam import Adam, AdamW
from pdanet_tf.optimizers.groups import decays
from pdanet_tf.optimizers.schedules import LinearWarmup
from pdanet_tf.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "LinearWarmup", "decays"]
