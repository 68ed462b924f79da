"""Names of models, and the functions that build them.

A network of another package that differs from the one of the same name here is a variant of it:
`build_model("deeplabv3_resnet50", variant="torchvision")`. The modules of
`pdanet_tf.models.variants` register them, see `register_variant`.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from pdanet_tf.backbones.registry import Backbone
from pdanet_tf.base.catalog import FAMILIES, Family, model_names
from pdanet_tf.base.choices import OUTPUT_STRIDES
from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Tensor

FamilyFunction = Callable[..., keras.Model]


@dataclass(frozen=True)
class ModelEntry:
    """What the name of a model stands for.

    Attributes:
        family: The function that builds the model on a backbone.
        head: The function from the backbone's stages to logits.
        backbone: The backbone.
        backbone_name: Name of the backbone.
        options: Options that the family is called with for this name.
        output_stride: The only output stride of the network of this name; None if users of
            `build_model` choose it.
        normalization: How its pixels are normalised if users of `build_model` do not choose, see
            `pdanet_tf.layers.PixelNormalization`.
    """

    family: FamilyFunction
    head: Callable[..., Tensor]
    backbone: Backbone
    backbone_name: str
    options: Mapping[str, Any]
    output_stride: int | None = None
    normalization: str = "torch"

    @property
    def option_names(self) -> list[str]:
        """Names of the options of the head that `build_model` takes for this model.

        These are the options of the family, and those of the head that have a default. The family
        itself sets the others.
        """
        head = inspect.signature(self.head).parameters
        family = inspect.signature(self.family).parameters.values()
        own = [each.name for each in family if each.kind is each.POSITIONAL_OR_KEYWORD][1:]
        defaults = [name for name, each in head.items() if each.default is not each.empty]
        return list(dict.fromkeys(["dropout", *own, *defaults, *self.options]))


_MODELS: dict[str, ModelEntry] = {}
_VARIANTS: dict[tuple[str, str], ModelEntry] = {}  # by model and variant


def register_family(
    backbones: Mapping[str, Backbone | Callable[..., keras.Model]],
    head: Callable[..., Tensor],
    *,
    output_stride: int | None = None,
    **options: Any,
) -> Callable[[FamilyFunction], FamilyFunction]:
    """Registers a family of models with `build_model`, as "family_backbone" on each backbone.

    A family is a head that works on several backbones. The decorated function takes a backbone
    and the options of `segmentation_model`, and returns the model. Its name is the family's name,
    and the first line of its docstring is the family's title. Registered models behave like those
    of this package: `list_models` lists them, `build_model` checks their options before it builds
    anything, and upsampling, deep supervision, saving and training need nothing else.

    A family may be registered again from where it was defined, as a notebook does when it runs a
    cell again.

    Args:
        backbones: The backbones by name: `pdanet_tf.backbones.RESNETS`, or functions that build
            a model from normalised images `(batch, height, width, 3)` to a dict of the stages "C1"
            to "C5". A parameter `output_stride` or `stem` of such a function can be chosen in
            `build_model`.
        head: The function `(stages, num_classes, dropout, **options)` from the backbone's stages,
            each `(batch, height, width, channels)`, to logits
            `(batch, height, width, num_classes)`. `build_model` takes its options that have a
            default.
        output_stride: The family's only output stride; None if users of `build_model` choose it.
        **options: Options that the family is built with on these backbones.

    Returns:
        A decorator, which returns the decorated function as it is.

    Raises:
        ValueError: If `backbones` is not such a mapping, the head does not take `num_classes` and
            `dropout`, or another function has registered a family of the same name.

    Example:
        ```python
        import keras
        import pdanet_tf

        def wide_head(stages, num_classes, dropout, filters=256):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(stages["C5"])
            x = keras.layers.SpatialDropout2D(dropout)(x)
            return pdanet_tf.layers.Classifier(num_classes, 1, name="classifier")(x)

        @pdanet_tf.register_family(pdanet_tf.backbones.RESNETS, wide_head)
        def wide(backbone, **options):
            \"\"\"Wide: one wide convolution.\"\"\"
            return pdanet_tf.segmentation_model("wide", backbone, wide_head, **options)

        model = pdanet_tf.build_model("wide_resnet18", num_classes=11, filters=64)
        ```
    """
    if (
        not isinstance(backbones, Mapping)
        or not backbones
        or not all(isinstance(name, str) for name in backbones)
        or not all(map(callable, backbones.values()))
    ):
        raise ValueError(
            "backbones must be a mapping from names to backbones, or to functions that build them. "
            f"Received: {backbones!r}"
        )
    if output_stride not in (None, *OUTPUT_STRIDES):
        raise ValueError(
            f"output_stride must be one of {OUTPUT_STRIDES}, or None. "
            f"Received: output_stride={output_stride!r}"
        )
    entries = {
        name: backbone if isinstance(backbone, Backbone) else Backbone(backbone)
        for name, backbone in backbones.items()
    }
    _check_head(head)

    def register(family: FamilyFunction) -> FamilyFunction:
        _check_family(family)
        _check_name(family)
        _check_options(family, head, options)
        for name, backbone in entries.items():
            _MODELS[f"{family.__name__}_{name}"] = ModelEntry(
                family, head, backbone, name, options, output_stride
            )
        _list_in_catalog(family, entries)
        return family

    return register


def register_variant(
    family: str,
    variant: str,
    backbones: Mapping[str, Backbone],
    head: Callable[..., Tensor],
    *,
    output_stride: int | None = None,
    normalization: str = "torch",
    **options: Any,
) -> Callable[[FamilyFunction], FamilyFunction]:
    """Registers the network of another package as a variant of a family's models.

    `build_model(f"{family}_{backbone}", variant=variant)` then calls the decorated function, which
    is like that of a family, see `register_family`. It passes `variant` on to `segmentation_model`.

    Args:
        family: Name of the family.
        variant: Name of the variant: that of the package, such as "torchvision", or "published" for
            a network as its authors published it.
        backbones: The backbones by name; `Backbone.with_fixed` fixes their stem and layout.
        head: The function from the backbone's stages to logits.
        output_stride: The variant's only output stride; None if users of `build_model` choose it.
        normalization: See `ModelEntry`.
        **options: Options that the variant is built with on these backbones.

    Returns:
        A decorator, which returns the decorated function as it is.

    Raises:
        ValueError: If neither the function nor the head takes an option.

    `pdanet_tf.models.variants.torchvision` is an example.
    """
    _check_head(head)

    def register(build: FamilyFunction) -> FamilyFunction:
        _check_family(build)
        _check_options(build, head, options)
        for name, backbone in backbones.items():
            _VARIANTS[f"{family}_{name}", variant] = ModelEntry(
                build, head, backbone, name, options, output_stride, normalization
            )
        return build

    return register


def _check_head(head: Callable[..., Tensor]) -> None:
    """Raises if a head does not take what it is called with."""
    expected = "A head must be a function (stages, num_classes, dropout, **options). Received: "
    if not callable(head):
        raise ValueError(f"{expected}{head!r}")
    signature = inspect.signature(head)
    missing = [name for name in ("num_classes", "dropout") if not _takes(signature, name)]
    if missing:
        raise ValueError(
            f"{expected}{_place(head)}{signature}, which does not take {' and '.join(missing)}"
        )


def _check_family(family: FamilyFunction) -> None:
    """Raises if a family is not a function with a name that takes a backbone and options."""
    expected = "A family must be a function (backbone, **options) with a name. Received: "
    if not callable(family) or not getattr(family, "__name__", "").isidentifier():
        raise ValueError(f"{expected}{family!r}")
    signature = inspect.signature(family)
    if not signature.parameters or not _takes(signature, "num_classes"):
        raise ValueError(f"{expected}{_place(family)}{signature}")


def _check_options(
    family: FamilyFunction, head: Callable[..., Tensor], options: Mapping[str, Any]
) -> None:
    """Raises if neither a family nor its head takes an option that the family is built with."""
    own = inspect.signature(family).parameters
    for name in options:
        if name not in own and not _takes(inspect.signature(head), name):
            raise ValueError(
                f"Neither {_place(family)} nor {_place(head)} takes the option {name!r}. "
                f"Received: {name}={options[name]!r}"
            )


def _takes(signature: inspect.Signature, name: str) -> bool:
    """Returns whether a function has a parameter, by name or as one of `**options`."""
    parameters = signature.parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _check_name(family: FamilyFunction) -> None:
    """Raises if another function has registered a family of the same name."""
    for entry in _MODELS.values():
        if entry.family.__name__ == family.__name__ and _place(entry.family) != _place(family):
            raise ValueError(
                f"There already is a family named {family.__name__!r}: {_place(entry.family)}. "
                f"Choose another name for {_place(family)}"
            )


def _place(function: Callable[..., Any]) -> str:
    """Returns where a function is defined, as "module.name"."""
    return f"{function.__module__}.{function.__qualname__}"


def _list_in_catalog(family: FamilyFunction, backbones: Mapping[str, Any]) -> None:
    """Adds a family of another package to the catalog, without numbers of parameters."""
    listed = FAMILIES.get(family.__name__)
    parameters = {} if listed is None else dict(listed.parameters)
    unlisted: dict[str, int | None] = {name: None for name in backbones if name not in parameters}
    if unlisted:
        lines = (inspect.getdoc(family) or "").splitlines()
        title = (lines[0] if lines else family.__name__).rstrip(".")
        FAMILIES[family.__name__] = Family(
            title if listed is None else listed.title, {**parameters, **unlisted}
        )


def list_models() -> list[str]:
    """Returns the names that `build_model` takes, in alphabetical order."""
    return sorted(_MODELS)


def variants_of(name: str) -> list[str]:
    """Returns the names of the variants of a model."""
    return [variant for model, variant in _VARIANTS if model == name]


def find_model(name: str, variant: str | None = None) -> ModelEntry:
    """Returns what the name of a model stands for.

    Args:
        name: The name.
        variant: A variant of the model; None for the model itself.

    Raises:
        ValueError: If there is no such model; the message suggests names that begin with `name`,
            and similar names. If it has no such variant; the message lists its variants.
    """
    name = convert_field("name", name, str)
    if name not in _MODELS:
        near = _near(name) or model_names()
        raise ValueError(
            f"There is no model named {name!r}. Did you mean: {', '.join(near)}? The module of a "
            "model of your own must be imported first (command line: --import MODULE)."
        )
    if variant is None:
        return _MODELS[name]
    if (name, variant) not in _VARIANTS:
        known = variants_of(name)
        having = [model for model, other in _VARIANTS if other == variant]
        raise ValueError(
            f"{name} has "
            + (f"the variants {', '.join(known)}" if known else "no variants")
            + f". Received: variant={variant!r}"
            + (f", which these models have: {', '.join(having)}" if having else "")
        )
    return _VARIANTS[name, variant]


def _near(name: str) -> list[str]:
    """Returns up to four names of models that begin with `name`, or else are similar to it."""
    names = model_names()
    longer = [each for each in names if name and each.startswith(name.lower())]
    alike = difflib.get_close_matches(name.lower(), names, n=4)
    return list(dict.fromkeys([*longer, *alike]))[:4]
