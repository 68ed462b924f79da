"""Weights into models, name to name, with nothing left over."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from pdanet_tf.layers import PixelNormalization


def assign_weights(model: keras.Model, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Assigns one array to each variable of a model, by the variable's path.

    Everything is compared before anything is assigned: either all weights are loaded or none.

    Args:
        model: The model.
        arrays: An array for the path of each variable.
        source: Where the arrays come from, for the message.

    Raises:
        ValueError: If there are missing, unexpected or misshapen arrays; all are listed.
    """
    variables = {variable.path: variable for variable in model.weights}
    problems = [
        f"  missing: {path} {tuple(variables[path].shape)}"
        for path in variables
        if path not in arrays
    ]
    problems += [
        f"  unexpected: {path} {np.shape(arrays[path])}" for path in arrays if path not in variables
    ]
    problems += [
        f"  {path}: expected {tuple(variable.shape)}, found {np.shape(arrays[path])}"
        for path, variable in variables.items()
        if path in arrays and tuple(variable.shape) != np.shape(arrays[path])
    ]
    if problems:
        raise ValueError(
            f"The weights in {source} do not fit model {model.name!r}; nothing was loaded:\n"
            + "\n".join(problems)
        )
    for path, variable in variables.items():
        variable.assign(arrays[path])


def load_keras_file(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file, without its optimizer.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file at {path}")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a model in Keras' format (.keras)")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: the model cannot be loaded: {error}") from error


def _check_normalization(model: keras.Model, saved: keras.Model, path: Path) -> None:
    """Raises if weights were trained on pixels normalised in another way."""
    found, expected = (
        [layer.normalization for layer in each.layers if isinstance(layer, PixelNormalization)]
        for each in (saved, model)
    )
    if found and expected and found != expected:
        raise ValueError(
            f"The weights in {path} belong to normalization={found[0]!r}. "
            f"Received: normalization={expected[0]!r}"
        )


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads the weights of a `.keras` or `.weights.h5` file into a model of the same kind.

    Args:
        model: The model.
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind, or its weights do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file at {path}")
    if path.name.endswith(".keras"):
        saved = load_keras_file(path)
        _check_normalization(model, saved, path)
        ours = {weight.path for weight in model.weights}
        arrays = {
            weight.path: keras.ops.convert_to_numpy(weight)
            for weight in saved.weights
            # A model trained with deep supervision may be used without it.
            if weight.path in ours or not weight.path.startswith("aux_head/")
        }
        assign_weights(model, arrays, source=str(path))
    elif path.name.endswith(".weights.h5"):
        try:
            model.load_weights(path)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(f"The weights in {path} do not fit {model.name!r}: {error}") from error
    else:
        raise ValueError(f"weights must be a .keras or a .weights.h5 file. Received: {path}")
