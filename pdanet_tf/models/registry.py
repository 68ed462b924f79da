"""Names of models, and the functions that build them."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class ModelEntry:
    """What a name stands for.

    Attributes:
        family: The function that builds the model on a backbone.
        backbone: The function that builds the backbone.
        backbone_name: Its name.
        options: Options of the family that belong to the name.
    """

    family: Callable[..., keras.Model]
    backbone: Callable[..., keras.Model]
    backbone_name: str
    options: Mapping[str, Any]

    @property
    def description(self) -> str:
        """The first line of the family's docstring."""
        return (self.family.__doc__ or "").splitlines()[0]


_MODELS: dict[str, ModelEntry] = {}


def register_family(
    backbones: Mapping[str, Callable[..., keras.Model]], **options: Any
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Makes a family known to `build_model`, on each backbone, as "family_backbone".

    Args:
        backbones: The function that builds each backbone, by name.
        **options: Options of the family on these backbones.
    """

    def register(family: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        for name, backbone in backbones.items():
            _MODELS[f"{family.__name__}_{name}"] = ModelEntry(family, backbone, name, options)
        return family

    return register


def list_models() -> list[str]:
    """Returns the names that `build_model` takes, in alphabetical order."""
    return sorted(_MODELS)


def find_model(name: str) -> ModelEntry:
    """Returns what a name stands for.

    Raises:
        ValueError: If there is no such model; the message suggests the nearest names.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, list_models(), n=3) or list_models()
        raise ValueError(f"There is no model named {name!r}. Did you mean: {', '.join(near)}?")
    return _MODELS[name]
