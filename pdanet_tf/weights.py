"""Weights into models, name to name, with nothing left over."""

from collections.abc import Mapping

import keras
import numpy as np


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
