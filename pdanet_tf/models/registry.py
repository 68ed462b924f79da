"""Names of models, and the functions that build them."""

import difflib
from collections.abc import Callable

import keras

_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


def register_model(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Makes a function known to `build_model` under its own name."""
    _BUILDERS[builder.__name__] = builder
    return builder


def list_models() -> list[str]:
    """Returns the names that `build_model` takes, in alphabetical order."""
    return sorted(_BUILDERS)


def model_builder(name: str) -> Callable[..., keras.Model]:
    """Returns the function that builds a model.

    Raises:
        ValueError: If there is no such model; the message suggests the nearest names.
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=3) or list_models()
        raise ValueError(f"There is no model named {name!r}. Did you mean: {', '.join(near)}?")
    return _BUILDERS[name]
