"""The dtype policies of layers, stored in a checkpoint.

Keras 3.15 does not store the policy of every layer: `SpatialDropout2D` stores only the dtype of its
variables. Under `mixed_bfloat16` it drops bfloat16 features, and once it is loaded, float32 ones,
which draws other numbers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import keras

POLICIES_ENTRY = "pdanet_tf_policies.json"  # in the .keras file, which is a zip archive


def dump_policies(model: keras.Model) -> str:
    """Returns the names of the dtype policies of a model's layers, as JSON."""
    return json.dumps({path: layer.dtype_policy.name for path, layer in _layers(model)})


def restore_policies(model: keras.Model, checkpoint: Path) -> None:
    """Gives the layers of a loaded model the dtype policies that they had when it was saved.

    Args:
        model: The model, not called yet.
        checkpoint: The file that it was loaded from. Files of an earlier pdanet_tf have no
            policies; the layers stay as they are then.
    """
    with ZipFile(checkpoint) as archive:
        if POLICIES_ENTRY not in archive.namelist():
            return
        stored = json.loads(archive.read(POLICIES_ENTRY))
    for path, layer in _layers(model):
        if stored[path] != layer.dtype_policy.name:
            layer.dtype_policy = stored[path]


def _layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a model and of the models in it, with their paths."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):  # it computes nothing itself
            yield from _layers(layer, f"{prefix}{layer.name}/")
        else:
            yield f"{prefix}{layer.name}", layer
