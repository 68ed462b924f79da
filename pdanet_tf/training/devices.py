"""The devices that a run trains on: of this process, and of several processes together.

`keras.Model.fit` of Keras 3.15 fails in two places under a `MultiWorkerMirroredStrategy` (its issue
20585): before the first step, where it averages a batch that is spread over the processes; and
after each step, where it averages numbers along an axis that they do not have. The first fault also
occurs under a `MirroredStrategy`, if the devices have different numbers of images. `spread` steps
around both with public means: a model that was made outside of the strategy's scope skips the
first, and a model that has a `train_function` already skips the second.
"""

import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from pdanet_tf.evaluation.parts import WHOLE, Part
from pdanet_tf.training.cluster import Cluster
from pdanet_tf.training.metric_states import create_metrics


def choose_strategy(cluster: Cluster | None) -> tuple[tf.distribute.Strategy, list[str]]:
    """Returns the strategy for the devices of a run, and the names of the devices.

    A single device needs no strategy other than TensorFlow's default: under another one the first
    step comes later.

    Args:
        cluster: The processes that train together; None if this one trains alone.

    Raises:
        ValueError: If TensorFlow has been used before in a process that trains with others.
    """
    if cluster is not None:
        return _join(cluster)
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if tf.distribute.has_strategy():  # the caller has entered its scope
        strategy = tf.distribute.get_strategy()
    elif len(gpus) > 1:
        strategy = tf.distribute.MirroredStrategy(gpus)
    else:
        return tf.distribute.get_strategy(), gpus or ["/device:CPU:0"]
    return strategy, list(strategy.extended.worker_devices)


def _join(cluster: Cluster) -> tuple[tf.distribute.Strategy, list[str]]:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except RuntimeError as error:
        raise ValueError(
            "Training on several machines must begin before anything else uses TensorFlow in the "
            f"process: {error}. Call pdanet_tf.train first, or use the command pdanet-tf train"
        ) from error
    _handle_sigterm_again()
    local = len(strategy.extended.worker_devices)
    return strategy, [
        f"{address} device {number}" for address in cluster.addresses for number in range(local)
    ]


def _handle_sigterm_again() -> None:
    """Restores Python's handler of SIGTERM, which TensorFlow replaces as it connects processes."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def lost_processes_named(cluster: Cluster) -> Iterator[None]:
    """Converts TensorFlow's error in a block to one sentence if it does not reach a process.

    Raises:
        ConnectionError: If a process has ended, or cannot be reached at its address.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        found = re.findall(r"/job:worker(?:/replica:\d+)?/task:(\d+)", str(error))
        others = [int(number) for number in found if int(number) != cluster.index]
        place = f" at {cluster.addresses[others[0]]}" if others else ""
        raise ConnectionError(
            f"The worker{place} cannot be reached, or has ended. If its own output gives no "
            "reason, check its address in TF_CONFIG, and that no firewall closes the port. The "
            "last checkpoint stays: start all workers again"
        ) from error


def spread(
    model: keras.Model, strategy: tf.distribute.Strategy, batch: tuple[Any, Any]
) -> keras.Model:
    """Returns a model whose `fit` trains on several processes, and on unequal parts of batches.

    Args:
        model: The compiled model, made in the strategy's scope.
        strategy: A `MultiWorkerMirroredStrategy` or a `MirroredStrategy`.
        batch: A batch of images and labels, whose values are not used.

    Returns:
        A model with the same layers, variables and optimizer, whose `fit` takes a distributed
        dataset.
    """
    # The caller may have entered the strategy's scope, which holds for the thread.
    with ThreadPoolExecutor(max_workers=1) as outside:
        twin = outside.submit(keras.Model, model.inputs, model.output, name=model.name).result()
    with strategy.scope():  # metrics create variables
        compiled = {
            name: keras.saving.deserialize_keras_object(value)
            for name, value in model.get_compile_config().items()
            if name != "optimizer"
        }
        twin.compile(**compiled, optimizer=model.optimizer)

    one_step = tf.function(
        lambda data: _first(strategy, strategy.run(twin.train_step, args=(data,)))
    )
    # Keras creates the variables of metrics where they are first used. A stateless scope does not
    # count the batch.
    with strategy.scope(), keras.StatelessScope():
        create_metrics(twin, *batch)
    twin.train_function = lambda iterator: one_step(next(iterator))
    return twin


def _first(strategy: tf.distribute.Strategy, values: Any) -> Any:
    """Returns the values of this process's first replica; they are the same on all replicas."""
    return tf.nest.map_structure(lambda v: strategy.experimental_local_results(v)[0], values)


def part_of(strategy: tf.distribute.Strategy, cluster: Cluster | None) -> Part:
    """Returns the part of this process in work that the processes of a cluster share.

    Args:
        strategy: The strategy of `choose_strategy`.
        cluster: The processes; None if this one works alone.
    """
    if cluster is None:
        return WHOLE
    local = len(strategy.extended.worker_devices)
    index, size = cluster.index, cluster.size

    def summed(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # Each replica of a process would add the values again.
        is_first = context.replica_id_in_sync_group % local == 0
        mine = tf.where(is_first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    add = tf.function(lambda values: _first(strategy, strategy.run(summed, args=(values,))))
    return Part(
        select=lambda count: range(index, count, size),
        sum=lambda values: add(tf.constant(values, "float64")).numpy(),
    )
