"""Training with JAX, on the devices of a `keras.distribution.DataParallel`.

The batches come from tf.data, so TensorFlow must be installed; nothing else here uses it.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import jax
import keras
import numpy as np
import tensorflow as tf
from jax.experimental import multihost_utils

from pdanet_tf.evaluation.parts import WHOLE, Part
from pdanet_tf.training.cluster import Cluster
from pdanet_tf.training.engines import FirstBatch, MakeBatches


class JaxEngine:
    """Trains on all devices of JAX; see `engines.Engine`.

    Each device has all variables and an equal part of each batch. XLA compiles the step of all
    devices as one program, so that losses, metrics and batch norm are those of the whole batch.
    Within a `keras.distribution.DataParallel` that the caller has set, it trains on the devices of
    that one.

    Args:
        cluster: The processes that train together; None if this one trains alone.

    Raises:
        ValueError: If JAX has been used before in a process that trains with others, if it has
            other processes than the cluster, or if these differ in their numbers of devices; if
            the caller has set a distribution other than `DataParallel`.
    """

    def __init__(self, cluster: Cluster | None) -> None:
        if cluster is not None:
            _join(cluster)
        _check_processes(cluster)
        with suppress(RuntimeError):  # TensorFlow is already in use, with its GPUs
            tf.config.set_visible_devices([], "GPU")  # it would reserve their memory
        self.cluster = cluster
        self.distribution = _distribution()
        names = (
            keras.distribution.list_devices()
            if self.distribution is None
            else [str(name) for name in self.distribution.device_mesh.devices.flat]
        )
        self.devices = [name.upper() for name in names]
        self.replicas = len(names)
        self.divides_equally = True
        self.part = WHOLE if cluster is None else _part_of(cluster)
        # `fit` of Keras on JAX replaces the weights by their averages also after an error: what is
        # saved must be saved before.
        self.stops_while_scoring = False
        self._scored: keras.Model | None = None

    def connected(self) -> AbstractContextManager[Any]:
        """Returns a context whose errors say that a process is lost."""
        return nullcontext() if self.cluster is None else _lost_processes_told()

    def building(self) -> AbstractContextManager[Any]:
        """Returns the scope of the distribution."""
        return nullcontext() if self.distribution is None else self.distribution.scope()

    def fitting(self) -> AbstractContextManager[Any]:
        """Returns the scope of the distribution, by which `fit` distributes the batches."""
        return self.building()

    def alone(self) -> AbstractContextManager[Any]:
        """Returns a context in which variables are on one device of this process."""
        return _undistributed()

    def uses_xla(self, is_one_size: bool) -> bool:
        """Returns True: XLA compiles all programs of JAX, once for each shape of the batches."""
        return True

    def feed(
        self, model: keras.Model, make: MakeBatches, batch_size: int
    ) -> tuple[keras.Model, Any, FirstBatch]:
        """Returns the model to fit, this process's share of the batches, and one of them."""
        share = (0, 1) if self.cluster is None else (self.cluster.index, self.cluster.size)
        batches = make(share)
        return model, batches, lambda: next(batches.as_numpy_iterator())

    def scored(self, model: keras.Model) -> keras.Model:
        """Returns the model, or a copy of it on one device if it is on several."""
        if self.distribution is None:
            return model
        if self._scored is None:
            with self.alone():
                self._scored = keras.models.clone_model(model)
        self._scored.set_weights(model.get_weights())
        return self._scored


@contextmanager
def _lost_processes_told() -> Iterator[None]:
    """Converts the error of JAX in a block to one sentence if it does not reach a process.

    Raises:
        ConnectionError: If a process has ended, or cannot be reached.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not re.search(r"Gloo|NCCL|coordination service|UNAVAILABLE", str(error)):
            raise
        raise ConnectionError(
            "A worker cannot be reached, or has ended. If no output of a worker gives a reason, "
            "check the addresses in TF_CONFIG, and that no firewall closes the ports. The last "
            "checkpoint stays: start all workers again"
        ) from error


@contextmanager
def _undistributed() -> Iterator[None]:
    """Removes Keras' distribution in a block."""
    former = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(former)


def _distribution() -> keras.distribution.DataParallel | None:
    """Returns the distribution of the caller, or one over all devices; None for one device."""
    current = keras.distribution.distribution()
    if current is None:
        if len(keras.distribution.list_devices()) == 1:
            return None
        return keras.distribution.DataParallel(auto_shard_dataset=False)
    if not isinstance(current, keras.distribution.DataParallel):
        raise ValueError(
            "Training takes a keras.distribution.DataParallel. "
            f"Received: {type(current).__name__}; remove it with set_distribution(None)"
        )
    # The batches are already those of this process.
    return keras.distribution.DataParallel(current.device_mesh, auto_shard_dataset=False)


def _join(cluster: Cluster) -> None:
    # JAX's service would catch SIGTERM in place of `termination`.
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        keras.distribution.initialize(cluster.addresses[0], cluster.size, cluster.index)
    except RuntimeError as error:
        raise ValueError(
            "Training on several machines must begin before anything else uses JAX in the process: "
            f"{error}. Call pdanet_tf.train first, or use the command pdanet-tf train"
        ) from error


def _check_processes(cluster: Cluster | None) -> None:
    size = 1 if cluster is None else cluster.size
    if jax.process_count() != size:
        raise ValueError(
            f"JAX runs {jax.process_count()} processes. Name all of them in TF_CONFIG or start "
            "them with Slurm, and leave jax.distributed.initialize out: training calls it"
        )
    if jax.device_count() != size * jax.local_device_count():
        raise ValueError(
            "All processes must have the same number of devices. This one has "
            f"{jax.local_device_count()}, the {size} processes have {jax.device_count()}"
        )


def _part_of(cluster: Cluster) -> Part:
    def add(values: np.ndarray) -> np.ndarray:
        # As bytes, because JAX would round the numbers to float32.
        mine = np.frombuffer(np.asarray(values, "float64").tobytes(), "uint8")
        everything = np.asarray(multihost_utils.process_allgather(mine))
        return everything.view("float64").reshape(cluster.size, *values.shape).sum(0)

    return Part(select=lambda count: range(cluster.index, count, cluster.size), sum=add)
