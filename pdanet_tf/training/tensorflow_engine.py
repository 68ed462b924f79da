"""Training with TensorFlow, on the devices of a `tf.distribute` strategy."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from pdanet_tf.training.cluster import Cluster
from pdanet_tf.training.devices import (
    choose_strategy,
    lost_processes_named,
    part_of,
    spread,
)
from pdanet_tf.training.engines import FirstBatch, MakeBatches


class TensorFlowEngine:
    """Trains under the strategy of `devices.choose_strategy`; see `engines.Engine`.

    Args:
        cluster: The processes that train together; None if this one trains alone.

    Raises:
        ValueError: If TensorFlow has been used before in a process that trains with others.
    """

    def __init__(self, cluster: Cluster | None) -> None:
        self.cluster = cluster
        self.strategy, self.devices = choose_strategy(cluster)
        self.replicas = self.strategy.num_replicas_in_sync
        self.divides_equally = False
        self.part = part_of(self.strategy, cluster)
        # Several processes stop together, after a step.
        self.stops_while_scoring = cluster is None

    def connected(self) -> AbstractContextManager[Any]:
        """Returns a context whose errors name a process that is lost."""
        return nullcontext() if self.cluster is None else lost_processes_named(self.cluster)

    def building(self) -> AbstractContextManager[Any]:
        """Returns the scope of the strategy."""
        return self.strategy.scope()

    def fitting(self) -> AbstractContextManager[Any]:
        """Returns a context that does nothing: `fit` enters the scope of its model."""
        return nullcontext()

    def alone(self) -> AbstractContextManager[Any]:
        """Returns a context that does nothing."""
        return nullcontext()

    def uses_xla(self, is_one_size: bool) -> bool:
        """Returns whether XLA compiles the step.

        It does so on a single GPU if all batches have one shape, for each of which it would compile
        the step again. XLA does not work with several replicas. On CPUs its convolutions are slow.
        """
        return self.replicas == 1 and is_one_size and any("GPU" in name for name in self.devices)

    def feed(
        self, model: keras.Model, make: MakeBatches, batch_size: int
    ) -> tuple[keras.Model, Any, FirstBatch]:
        """Returns the model to fit, its batches, and a function that returns one of them."""
        if self.cluster is None and batch_size % self.replicas == 0:
            batches = make((0, 1))
            return model, batches, lambda: next(iter(batches))
        index, processes = (
            (0, 1) if self.cluster is None else (self.cluster.index, self.cluster.size)
        )
        local = self.replicas // processes
        # TensorFlow takes a batch for each of this process's devices in turn.
        shares = [make((index * local + number, self.replicas)) for number in range(local)]
        turns = tf.data.Dataset.choose_from_datasets(
            shares, tf.data.Dataset.range(local).repeat(), stop_on_empty_dataset=True
        )
        model = spread(model, self.strategy, next(iter(turns)))
        batches = self.strategy.distribute_datasets_from_function(lambda _: turns)
        return model, batches, lambda: next(iter(turns))

    def scored(self, model: keras.Model) -> keras.Model:
        """Returns the model itself."""
        return model
