"""Loads what fits of stored weights into a model with other classes or another head."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from pdanet_tf.backbones.parts import find_backbone
from pdanet_tf.layers import PixelNormalization
from pdanet_tf.weights.assign import assign_weights, check_numbers, different_classes
from pdanet_tf.weights.channels import adapt_arrays

_AUXILIARY = "aux_head"
_MOST_LISTED = 6  # parts in a sentence
# The end of a variable's path, below the smallest part that is loaded: a convolution and its batch
# norm belong together.
_INSIDE_A_PART = re.compile(r"(/(conv|batch_norm))?/[^/]+$")
_STEM_KERNEL = "stem_conv1/conv/kernel"
_BLOCK_KERNEL = "c2_block1_conv1/conv/kernel"

_Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class StoredWeights:
    """Weights that a file or a checkpoint holds.

    Attributes:
        source: Where they come from, for messages.
        arrays: An array for the path of each variable, see `keras.Variable.path`.
        model_name: Name of the stored model; None if it is not known.
        backbone_paths: The paths of its backbone's variables; empty if they are not known.
        normalization: How its pixels are normalised, see `pdanet_tf.layers.PixelNormalization`;
            None if it is not known.
        names: The names of the arrays in the file, by path, for messages; empty if they are the
            paths.
    """

    source: str
    arrays: Mapping[str, np.ndarray]
    model_name: str | None = None
    backbone_paths: Collection[str] = ()
    normalization: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_model(cls, model: keras.Model, source: str) -> "StoredWeights":
        """Returns the weights of a model that was loaded from a file."""
        backbone = find_backbone(model)
        return cls(
            source,
            {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights},
            model.name,
            frozenset() if backbone is None else {weight.path for weight in backbone.weights},
            normalization_of(model),
        )


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded into a model, and what was not.

    Attributes:
        model: Name of the model.
        source: The file or the checkpoint.
        stored_model: Name of the model that it holds; None if it is not known.
        backbone: Name of the backbone that was loaded; None if the model has no backbone.
        loaded: Parts of the head that were loaded, such as "fusion" or "pyramid/level_0".
        kept: Parts of the head that did not fit and keep their initial values.
        unused: Parts of the stored head that the model does not have.
        classes: The number of classes of the stored model and that of the model, if the
            classifiers do not fit; None if they do, or if other layers have other shapes as well.
    """

    model: str
    source: str
    stored_model: str | None
    backbone: str | None
    loaded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    classes: tuple[int, int] | None = None

    def describe(self) -> str:
        """Returns a sentence that says what was loaded and names what was not."""
        origin = self.source
        if self.stored_model is not None:
            count = "" if self.classes is None else f", {self.classes[0]} classes"
            origin += f" ({self.stored_model}{count})"
        unused = f"; {_listed(self.unused)} of the file not used" if self.unused else ""
        if not self.kept:
            return f"all loaded from {origin}{unused}"
        verb = "keeps its initial values" if len(self.kept) == 1 else "keep their initial values"
        kept = f"{verb} ({self.classes[1]} classes)" if self.classes is not None else verb
        if self.stored_model == self.model or self.backbone is None:
            return f"loaded from {origin}, except {_listed(self.kept)}, which {kept}{unused}"
        loaded = _listed((f"the backbone {self.backbone}", *self.loaded))
        only = "" if self.loaded else "only "
        return f"{only}{loaded} loaded from {origin}; {_listed(self.kept)} {kept}{unused}"


def load_stored(model: keras.Model, stored: StoredWeights, strict: bool) -> LoadedWeights:
    """Loads stored weights into a model: all of them, or those that fit.

    What is loaded are whole parts: a convolution with its bias or its batch norm, and an attention
    scale. Of the backbone all or nothing is loaded, including the statistics of batch norm.

    Args:
        model: The model.
        stored: The weights. Those of an auxiliary head are ignored if the model has none.
        strict: Whether all weights of the model must be stored, and all stored ones must fit.

    Raises:
        ValueError: If the pixels of the stored model are normalised otherwise, if weights that
            would be loaded are not finite real numbers, or if they do not fit: with `strict` any
            of them, otherwise those of the backbone, or all. Nothing is loaded then.
    """
    _check_normalization(model, stored)
    # A .weights.h5 file does not say how pixels are normalised; it must fit the model in this, too.
    reverse = (stored.normalization or normalization_of(model)) == "caffe"
    arrays = adapt_arrays(model, stored.arrays, stored.source, reverse)
    stored = dataclasses.replace(stored, arrays=arrays)
    backbone = find_backbone(model)
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    if strict:
        arrays = {
            path: array
            for path, array in stored.arrays.items()
            if path in shapes or not path.startswith(f"{_AUXILIARY}/")
        }
        assign_weights(model, arrays, stored.source, stored.names)
        return all_loaded(model, stored.source, stored.model_name)
    stored_shapes = {path: np.shape(array) for path, array in stored.arrays.items()}
    if backbone is not None:
        _check_backbone(model, backbone, stored, stored_shapes)
    inside = set() if backbone is None else {weight.path for weight in backbone.weights}
    ours = _by_part({path: shape for path, shape in shapes.items() if path not in inside})
    theirs = _by_part(
        {
            path: shape
            for path, shape in stored_shapes.items()
            if path not in inside and path not in stored.backbone_paths
        }
    )
    fitting = {part for part, variables in ours.items() if theirs.get(part) == variables}
    if not fitting and not inside:
        raise ValueError(f"Nothing in {_held(stored)} fits the model {model.name!r}")
    paths = [*inside, *(path for part in fitting for path in ours[part])]
    check_numbers(((path, stored.arrays[path]) for path in paths), stored.source)
    for weight in model.weights:
        if weight.path in inside or _part(weight.path) in fitting:
            weight.assign(stored.arrays[weight.path])
    kept = _summarise(ours, fitting)
    unused = [part for part in _summarise(theirs, ours) if part not in kept and part != _AUXILIARY]
    misshapen = {
        path: (shapes[path], shape)
        for path, shape in stored_shapes.items()
        if path in shapes and shapes[path] != shape
    }
    return LoadedWeights(
        model.name,
        stored.source,
        stored.model_name,
        None if backbone is None else backbone.name,
        tuple(part for part in ours if part in fitting),
        kept,
        tuple(unused),
        different_classes(misshapen),
    )


def all_loaded(model: keras.Model, source: str, stored_model: str | None = None) -> LoadedWeights:
    """Returns the result of loading all weights of a model."""
    backbone = find_backbone(model)
    name = None if backbone is None else backbone.name
    inside = () if backbone is None else {weight.path for weight in backbone.weights}
    parts = dict.fromkeys(_part(each.path) for each in model.weights if each.path not in inside)
    return LoadedWeights(model.name, source, stored_model, name, tuple(parts))


def stem_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Returns the stem of a ResNet of this package, see `pdanet_tf.backbones.resnet18`.

    Args:
        shapes: Shapes of its variables, by path.

    Returns:
        One of `pdanet_tf.base.choices.STEMS`; None if it is no ResNet.
    """
    kernel, block = shapes.get(_STEM_KERNEL), shapes.get(_BLOCK_KERNEL)
    if kernel is None or block is None:
        return None
    if kernel[:2] == (7, 7):
        return "7x7"
    if kernel[-1] == block[-1]:
        return "deep"
    return "v1d" if any("_average_shortcut/" in path for path in shapes) else "v1c"


def normalization_of(model: keras.Model) -> str | None:
    """Returns how a model normalises pixels; None if it takes normalised images."""
    found = (layer for layer in model.layers if isinstance(layer, PixelNormalization))
    layer = next(found, None)
    return None if layer is None else layer.normalization


def _check_normalization(model: keras.Model, stored: StoredWeights) -> None:
    """Raises if the model normalises pixels otherwise than the model that was stored."""
    found, expected = stored.normalization, normalization_of(model)
    if None not in (found, expected) and found != expected:
        raise ValueError(
            f"The weights in {stored.source} belong to normalization={found!r}. "
            f"Received: normalization={expected!r}"
        )


def _check_backbone(
    model: keras.Model, backbone: keras.Model, stored: StoredWeights, shapes: _Shapes
) -> None:
    """Raises if the stored backbone is not that of the model, in one sentence."""
    expected = {weight.path: tuple(weight.shape) for weight in backbone.weights}
    inside = stored.backbone_paths or expected
    found = {path: shape for path, shape in shapes.items() if path in inside}
    if found == expected:
        return
    stems = stem_of(shapes), stem_of(expected)
    differ = None not in stems and stems[0] != stems[1]
    theirs, ours = (f" with stem={stem!r}" if differ else "" for stem in stems)
    path = next(path for path in [*expected, *found] if found.get(path) != expected.get(path))
    if path not in found:
        difference = f"the file lacks {path}"
    elif path not in expected:
        difference = f"the file also has {path}"
    else:
        difference = f"{path} must have the shape {expected[path]}, not {found[path]}"
    advice = (
        f"Build the model with stem={stems[0]!r}"
        if differ
        else "Choose a model or a file with the same backbone"
    )
    raise ValueError(
        f"{_held(stored)}{theirs}, whose backbone does not fit: {model.name!r} needs the backbone "
        f"{backbone.name}{ours}, but {difference}; nothing was loaded. {advice}"
    )


def _held(stored: StoredWeights) -> str:
    return f"{stored.source} holds {stored.model_name or 'an unknown model'}"


def _part(path: str) -> str:
    return _INSIDE_A_PART.sub("", path)


def _by_part(shapes: _Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    """Returns the shapes of the variables of every part, by path."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        parts.setdefault(_part(path), {})[path] = shape
    return parts


def _summarise(parts: Iterable[str], others: Collection[str]) -> tuple[str, ...]:
    """Returns the parts that are not among the others; layers without any such part as one."""
    found = dict[str, None]()
    for part in parts:
        if part in others:
            continue
        names = part.split("/")
        layers = ["/".join(names[: count + 1]) for count in range(len(names))]
        found[
            next(
                layer
                for layer in layers
                if layer == part
                or not any(other == layer or other.startswith(f"{layer}/") for other in others)
            )
        ] = None
    return tuple(found)


def _listed(parts: tuple[str, ...]) -> str:
    more = len(parts) - _MOST_LISTED
    shown = [*parts[:_MOST_LISTED], *([f"{more} more"] if more > 0 else ())]
    return " and ".join([part for part in (", ".join(shown[:-1]), shown[-1]) if part])
