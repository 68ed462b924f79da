"""The engine of a run: what trains on the devices of its processes, by the backend of Keras."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol

import keras

from pdanet_tf.evaluation.parts import Part
from pdanet_tf.training.cluster import Cluster

# By the backend of Keras. The module is imported when a run starts.
_CLASSES = {
    "jax": ("pdanet_tf.training.jax_engine", "JaxEngine"),
    "tensorflow": ("pdanet_tf.training.tensorflow_engine", "TensorFlowEngine"),
}
# Returns endless batches; takes which share of each batch, and the number of shares.
MakeBatches = Callable[[tuple[int, int]], Any]
# Returns a batch of images and labels.
FirstBatch = Callable[[], tuple[Any, Any]]


class Engine(Protocol):
    """What a run needs to know of the devices, and of the processes that train together.

    Attributes:
        devices: The names of all devices.
        replicas: Number of parts that each batch is divided into, one for each device.
        divides_equally: Whether the parts must have equally many images.
        part: The part of this process in work that all processes share.
        stops_while_scoring: Whether SIGTERM may end the validation between two images.
    """

    devices: list[str]
    replicas: int
    divides_equally: bool
    part: Part
    stops_while_scoring: bool

    def connected(self) -> AbstractContextManager[Any]:
        """Returns the context of the whole training, whose errors name a process that is lost."""
        ...

    def building(self) -> AbstractContextManager[Any]:
        """Returns the context in which a model that is trained is built, compiled or loaded."""
        ...

    def fitting(self) -> AbstractContextManager[Any]:
        """Returns the context in which `fit` is called."""
        ...

    def alone(self) -> AbstractContextManager[Any]:
        """Returns the context in which a model is built that this process uses alone."""
        ...

    def uses_xla(self, is_one_size: bool) -> bool:
        """Returns whether XLA compiles the step.

        Args:
            is_one_size: Whether all batches have the same shape.
        """
        ...

    def feed(
        self, model: keras.Model, make: MakeBatches, batch_size: int
    ) -> tuple[keras.Model, Any, FirstBatch]:
        """Returns the model to fit, its batches, and a function that returns one of them.

        Args:
            model: The compiled model.
            make: Returns batches.
            batch_size: Number of images of a whole batch.
        """
        ...

    def scored(self, model: keras.Model) -> keras.Model:
        """Returns a model with the present weights that this process can use alone."""
        ...


def start_engine(cluster: Cluster | None) -> Engine:
    """Returns the engine of Keras' backend, for the devices that are there.

    Args:
        cluster: The processes that train together; None if this one trains alone.

    Raises:
        ValueError: If the backend has been used before in a process that trains with others.
    """
    module, name = _CLASSES[keras.backend.backend()]
    return getattr(import_module(module), name)(cluster)


def check_division(engine: Engine, batch_size: int) -> None:
    """Checks that every device gets images of each batch.

    Raises:
        ValueError: If it does not, or if it would not get as many as the others and must.
    """
    devices = engine.replicas
    if batch_size < devices:
        raise ValueError(
            f"batch_size must be at least the number of devices, {devices}. "
            f"Received: batch_size={batch_size}"
        )
    if engine.divides_equally and batch_size % devices:
        lower = batch_size - batch_size % devices
        raise ValueError(
            f"batch_size must be a multiple of the number of devices, {devices}, because JAX "
            f"divides arrays into equal parts. Use {lower} or {lower + devices}, fewer devices, or "
            f"the TensorFlow backend. Received: batch_size={batch_size}"
        )
