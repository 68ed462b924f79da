"""Assigns arrays to the variables of a model by name; no array and no variable may be left over."""

import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np

_MOST_LISTED = 10  # problems of each kind
# Layers that compute logits; the second is that of DANet's head.
_LOGITS_LAYER = re.compile(r"classifier$|^dual_attention/projection$")
_NOT_REAL = "bcOSUmM"  # kinds of NumPy's dtypes that are not real numbers; bfloat16 is of kind V


def assign_weights(
    model: keras.Model,
    arrays: Mapping[str, np.ndarray],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Assigns one array to each variable of a model, by the variable's path.

    All names and shapes are compared before anything is assigned: either all weights are loaded or
    none.

    Args:
        model: The model.
        arrays: An array for the path of each variable.
        source: Where the arrays come from, for the message.
        names: The names of the arrays there, by the paths of the variables, for the message; None
            if they are the same.

    Raises:
        ValueError: If arrays are missing, unexpected or of the wrong shape (the message lists the
            first ten of each kind), or if `check_numbers` refuses an array.
    """
    variables = {variable.path: variable for variable in model.weights}
    named = {path: f"{path} ({name})" for path, name in (names or {}).items()}
    missing = [
        f"  missing: {named.get(path, path)} {tuple(variables[path].shape)}"
        for path in variables
        if path not in arrays
    ]
    unexpected = [
        f"  unexpected: {path} {np.shape(arrays[path])}" for path in arrays if path not in variables
    ]
    shapes = {
        path: (tuple(variable.shape), np.shape(arrays[path]))
        for path, variable in variables.items()
        if path in arrays and tuple(variable.shape) != np.shape(arrays[path])
    }
    misshapen = [
        f"  {named.get(path, path)}: expected {expected}, found {found}"
        for path, (expected, found) in shapes.items()
    ]
    if missing or unexpected or misshapen:
        reason = "" if missing or unexpected else _other_classes(shapes)
        listed = [line for lines in (missing, unexpected, misshapen) for line in _shorten(lines)]
        raise ValueError(
            f"The weights in {source} do not fit model {model.name!r}; nothing was loaded:{reason}"
            "\n" + "\n".join(listed)
        )
    check_numbers(arrays.items(), source)
    for path, variable in variables.items():
        variable.assign(arrays[path])


def _shorten(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LISTED
    return [*lines[:_MOST_LISTED], f"  ... and {more} more"] if more > 0 else lines


def _other_classes(shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Returns advice if only the classifiers differ, in their number of classes; else ""."""
    classes = different_classes(shapes)
    if classes is None:
        return ""
    theirs, ours = classes
    return (
        f" the checkpoint has {theirs} classes, the model {ours}: build it with "
        f"num_classes={theirs}"
    )


def different_classes(
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> tuple[int, int] | None:
    """Returns two numbers of classes if only the classifiers differ, in their number of classes.

    Args:
        shapes: The expected and the found shape of every array of the wrong shape, by path.

    Returns:
        The number that was found and the expected one; None if other layers differ, or nothing.
    """
    counts = set()
    for path, (expected, found) in shapes.items():
        layer, _, _ = path.rpartition("/")
        if not _LOGITS_LAYER.search(layer) or not found or expected[:-1] != found[:-1]:
            return None
        counts.add((found[-1], expected[-1]))
    return counts.pop() if len(counts) == 1 else None


def check_numbers(arrays: Iterable[tuple[str, np.ndarray]], source: str) -> None:
    """Checks that weights are finite real numbers, and variances not negative.

    Other weights turn every logit into NaN, and argmax then returns class 0 without an error.

    Args:
        arrays: Names and arrays.
        source: Where the arrays come from, for the message.

    Raises:
        ValueError: If an array holds NaN, infinity or a negative variance, or is not of real
            numbers.
    """
    broken = []
    for name, array in arrays:
        if array.dtype.kind in _NOT_REAL:
            raise ValueError(f"{source}: expected real numbers. Received: {array.dtype} in {name}")
        if not _is_usable(name, array):
            broken.append(name)
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
