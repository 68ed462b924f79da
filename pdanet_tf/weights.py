"""Weights into models, name to name, with nothing left over."""

from collections.abc import Iterable, Mapping

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
        ValueError: If there are missing, unexpected or misshapen arrays, all of which are listed;
            or if an array holds what `check_numbers` refuses.
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
    check_numbers(arrays.items(), source)
    for path, variable in variables.items():
        variable.assign(arrays[path])


def check_numbers(arrays: Iterable[tuple[str, np.ndarray]], source: str) -> None:
    """Raises if weights would turn every logit into NaN, of which argmax makes class 0.

    Args:
        arrays: Names and arrays.
        source: Where the arrays come from, for the message.

    Raises:
        ValueError: If an array holds NaN or infinity, or a variance is below 0.
    """
    broken = [name for name, array in arrays if not _is_usable(name, array)]
    if broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise ValueError(
            f"{source}: expected finite weights, and variances of at least 0. Received others in "
            f"{broken[0]}{more}: the file is damaged, or the training diverged"
        )


def _is_usable(name: str, array: np.ndarray) -> bool:
    if name.endswith(("moving_variance", "running_var")) and np.any(array < 0):
        return False
    return bool(np.all(np.isfinite(array)))
