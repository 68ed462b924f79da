"""Reads `.weights.h5` files by the names of the layers, which Keras stores in them as attributes.

In such a file, groups are named after the classes of the layers and numbered in their order, which
differs between heads.
"""

from collections import Counter
from pathlib import Path

import h5py
import keras
import numpy as np

from pdanet_tf.weights.fitting import StoredWeights

_VARIABLES = "vars"
_LAYERS = "layers"


def read_weights_h5(path: Path, model: keras.Model) -> StoredWeights | None:
    """Reads a `.weights.h5` file.

    A file numbers the variables of each layer. Those of layers that the model has, too, get the
    paths of the model's variables; the others get their number as the last part of the path.

    Args:
        path: The file.
        model: The model that the weights are for.

    Returns:
        The weights; None if the file does not name the layers, as those of old versions of Keras.

    Raises:
        OSError: If it is not an HDF5 file, or a damaged one.
    """
    arrays: dict[str, np.ndarray] = {}
    in_models: dict[str, set[str]] = {}  # paths of variables by the inner model that has them
    known = _variable_paths(model)
    with h5py.File(path) as file:
        for layer, group in _groups(file):
            names = _names(file, layer)
            if names is None:
                return None
            for index, dataset in group.items():
                place = "/".join([*names, index])
                variable = known.get(place, place)
                arrays[variable] = _read(dataset)
                if _LAYERS in file[_top(layer)]:
                    in_models.setdefault(_top(layer), set()).add(variable)
        stored_name = file[_VARIABLES].attrs.get("name") if _VARIABLES in file else None
    # The backbone is the only inner model of the models of this package.
    backbone = next(iter(in_models.values())) if len(in_models) == 1 else frozenset[str]()
    return StoredWeights(str(path), arrays, stored_name, backbone)


def _variable_paths(model: keras.Model) -> dict[str, str]:
    """Returns the path of every variable, by its layer and its number among those of the layer."""
    seen: Counter[str] = Counter()
    paths = {}
    for weight in model.weights:
        layer, _, _ = weight.path.rpartition("/")
        paths[f"{layer}/{seen[layer]}"] = weight.path
        seen[layer] += 1
    return paths


def _groups(file: h5py.File) -> list[tuple[str, h5py.Group]]:
    """Returns the groups of variables of all layers, with the layers' places in the file."""
    found: list[tuple[str, h5py.Group]] = []

    def visit(name: str, entry: h5py.Group | h5py.Dataset) -> None:
        layer, _, last = name.rpartition("/")
        is_a_layer = last == _VARIABLES and layer.startswith(f"{_LAYERS}/")
        if is_a_layer and isinstance(entry, h5py.Group) and len(entry):
            found.append((layer, entry))

    file.visititems(visit)
    return found


def _top(layer: str) -> str:
    """Returns the place of the outermost layer that contains a layer."""
    return "/".join(layer.split("/")[:2])


def _names(file: h5py.File, layer: str) -> list[str] | None:
    """Returns the names of a layer and of the layers around it; None if the layer has no name.

    Models are left out: the paths of variables do not contain them.
    """
    parts = layer.split("/")
    places = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    names = []
    for place in places:
        group = file[place]
        if _VARIABLES not in group or _LAYERS in group:
            continue  # a list of layers, or a model
        name = group[_VARIABLES].attrs.get("name")
        if name is None:
            return None
        names.append(str(name))
    return names


def _read(dataset: h5py.Dataset) -> np.ndarray:
    array = np.asarray(dataset)
    if dataset.attrs.get("dtype") == "bfloat16":  # NumPy reads it as bytes
        array = (array.view("uint16").astype("uint32") << 16).view("float32")
    return array
