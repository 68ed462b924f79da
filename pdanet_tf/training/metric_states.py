"""The sums of metrics within an epoch, stored in a checkpoint."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np

from pdanet_tf.ops.replicas import assign_sum

METRICS_ENTRY = "pdanet_tf_metrics.npz"  # in the .keras file, which is a zip archive


def dump_metrics(model: keras.Model) -> bytes:
    """Returns the variables of a model's metrics, the loss among them, as an `.npz` file.

    Variables that have one value on each of several devices are summed.
    """
    file = io.BytesIO()
    # An array's name is that of an entry of a zip archive, which may be a path.
    np.savez(file, **{name: keras.ops.convert_to_numpy(v) for name, v in _variables(model)})
    return file.getvalue()


def read_metrics(checkpoint: Path) -> dict[str, np.ndarray]:
    """Returns what `dump_metrics` stored in a checkpoint; nothing if it has no metrics."""
    with ZipFile(checkpoint) as archive:
        if METRICS_ENTRY not in archive.namelist():
            return {}
        with np.load(io.BytesIO(archive.read(METRICS_ENTRY)), allow_pickle=False) as arrays:
            return dict(arrays)


def restore_metrics(
    model: keras.Model, values: Mapping[str, np.ndarray], batch: Callable[[], tuple[Any, Any]]
) -> None:
    """Assigns stored values to the variables of a model's metrics.

    Args:
        model: The compiled model.
        values: What `read_metrics` returns.
        batch: Returns a batch of images and labels, which is required if the metrics have not been
            used yet: then they have no variables.

    Raises:
        ValueError: If the model has other metrics.
    """
    variables = dict(_variables(model))
    if len(variables) < len(values):
        create_metrics(model, *batch())
        variables = dict(_variables(model))
    shapes = {name: tuple(v.shape) for name, v in variables.items()}
    stored = {name: value.shape for name, value in values.items()}
    if shapes != stored:
        names = sorted(name for name, _ in shapes.items() ^ stored.items())
        raise ValueError(
            "The metrics of the epoch in the checkpoint are not those of the model: "
            f"{', '.join(names)} differ"
        )
    for name, variable in variables.items():
        assign_sum(variable, values[name])


def create_metrics(model: keras.Model, images: Any, labels: Any) -> None:
    """Makes Keras create the variables of metrics, which it does in the first step.

    Args:
        model: The compiled model.
        images: A batch of images, `(batch, height, width, channels)`.
        labels: Its labels.
    """
    shape = model.compute_output_shape(images.shape)
    outputs: Any = (
        {name: keras.ops.zeros(each) for name, each in shape.items()}
        if isinstance(shape, dict)
        else keras.ops.zeros(shape)
    )
    model.compute_loss(images, labels, outputs)
    model.compute_metrics(images, labels, outputs)


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yields the variables with names that do not depend on what the process built before."""
    for number, metric in enumerate(model.metrics):
        for index, variable in enumerate(metric.variables):
            yield f"{number}_{metric.name}_{index}_{variable.name}", variable
