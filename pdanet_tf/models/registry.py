"""Names of models, and the functions that build them."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from pdanet_tf.base.catalog import model_names
from pdanet_tf.base.fields import convert_field


@dataclass(frozen=True)
class ModelEntry:
    """What a name stands for.

    Attributes:
        family: The function that builds the model on a backbone.
        head: The function from the backbone's stages to logits.
        backbone: The function that builds the backbone.
        backbone_name: Its name.
        options: Options of the family that belong to the name.
        output_stride: The only output stride of the network of this name; None where it is chosen.
    """

    family: Callable[..., keras.Model]
    head: Callable[..., Any]
    backbone: Callable[..., keras.Model]
    backbone_name: str
    options: Mapping[str, Any]
    output_stride: int | None = None

    @property
    def backbone_options(self) -> list[str]:
        """Names of the options that the backbone is built with."""
        return [name for name in inspect.signature(self.backbone).parameters if name != "name"]

    @property
    def option_names(self) -> list[str]:
        """Names of the options that `build_model` takes for this model alone.

        The family sets what its head asks for without a default, dropout excepted.
        """
        head = inspect.signature(self.head).parameters
        family = inspect.signature(self.family).parameters.values()
        own = [each.name for each in family if each.kind is each.POSITIONAL_OR_KEYWORD][1:]
        defaults = [name for name, each in head.items() if each.default is not each.empty]
        return list(dict.fromkeys(["dropout", *own, *defaults, *self.options]))


_MODELS: dict[str, ModelEntry] = {}


def register_family(
    backbones: Mapping[str, Callable[..., keras.Model]],
    head: Callable[..., Any],
    *,
    output_stride: int | None = None,
    **options: Any,
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Makes a family known to `build_model`, on each backbone, as "family_backbone".

    Args:
        backbones: The function that builds each backbone, by name.
        head: The function from the backbone's stages to logits that the family uses.
        output_stride: The family's only output stride; None where it is chosen.
        **options: Options of the family on these backbones.
    """

    def register(family: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        for name, backbone in backbones.items():
            _MODELS[f"{family.__name__}_{name}"] = ModelEntry(
                family, head, backbone, name, options, output_stride
            )
        return family

    return register


def list_models() -> list[str]:
    """Returns the names that `build_model` takes, in alphabetical order."""
    return sorted(_MODELS)


def find_model(name: str) -> ModelEntry:
    """Returns what a name stands for.

    Raises:
        ValueError: If there is no such model; the message suggests names that begin so, and the
            nearest.
    """
    name = convert_field("name", name, str)
    if name not in _MODELS:
        near = _near(name) or model_names()
        raise ValueError(
            f"There is no model named {name!r}. Did you mean: {', '.join(near)}? The module of a "
            "model of your own must be imported first (command line: --import MODULE)."
        )
    return _MODELS[name]


def _near(name: str) -> list[str]:
    """Returns up to four names that begin with a name, or else resemble it."""
    names = model_names()
    longer = [each for each in names if name and each.startswith(name.lower())]
    alike = difflib.get_close_matches(name.lower(), names, n=4)
    return list(dict.fromkeys([*longer, *alike]))[:4]
