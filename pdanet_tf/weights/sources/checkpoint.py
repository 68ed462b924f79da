"""Checkpoints of other packages: reading them, finding the model, loading the weights by name."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pdanet_tf.weights.fitting import LoadedWeights, StoredWeights, load_stored, stem_of
from pdanet_tf.weights.hub import local_file
from pdanet_tf.weights.sources.caffe import DEEPLAB, DILATION, FCN
from pdanet_tf.weights.sources.caffe_segnet import SEGNET
from pdanet_tf.weights.sources.danet import DANET
from pdanet_tf.weights.sources.deeplab_pytorch import DEEPLAB_PYTORCH, PYTORCH_DEEPLAB_RESNET
from pdanet_tf.weights.sources.mmsegmentation import MMSEGMENTATION
from pdanet_tf.weights.sources.reference import REFERENCE
from pdanet_tf.weights.sources.smp import SMP
from pdanet_tf.weights.sources.source import Architecture, Source, State
from pdanet_tf.weights.sources.torchvision import TORCHVISION
from pdanet_tf.weights.state import read_state

SOURCES = (
    REFERENCE,
    TORCHVISION,
    DANET,
    SMP,
    MMSEGMENTATION,
    FCN,
    DILATION,
    DEEPLAB,
    SEGNET,
    DEEPLAB_PYTORCH,
    PYTORCH_DEEPLAB_RESNET,
)
_MOST_NAMES = 3  # in a message


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of another package.

    Attributes:
        file: Its file, for messages.
        source: The source that its names are of.
        state: Its arrays by name, in the source's layout.
        architecture: The model that it holds; None if this package has none that is equal to it.
        reason: Why there is no such model.
    """

    file: str
    source: Source
    state: State
    architecture: Architecture | None
    reason: str = ""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint of another package, and finds out which model it holds.

    Args:
        path: A file that `pdanet_tf.weights.state.read_state` reads, or its address on the Hub, see
            `pdanet_tf.weights.hub.local_file`.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the package that reads such files is not installed.
        OSError: If it cannot be read.
        ValueError: If it is damaged, or no source recognises it.
    """
    file = local_file(path)
    checkpoint = recognise(read_state(file), str(path))
    if checkpoint.architecture is None:
        return checkpoint
    try:
        completed = checkpoint.source.complete(checkpoint.architecture, Path(file))
    except ValueError as error:
        return dataclasses.replace(checkpoint, architecture=None, reason=str(error))
    return dataclasses.replace(checkpoint, architecture=completed)


def recognise(state: State, file: str) -> Checkpoint:
    """Finds out which model a state dict holds.

    Args:
        state: Arrays by name.
        file: Where they come from, for messages.

    Raises:
        ValueError: If no source recognises the names.
    """
    for named in (state, _without_first_part(state)):
        for source in SOURCES:
            prepared = source.prepare(named)
            if not source.recognises(prepared):
                continue
            try:
                return Checkpoint(file, source, prepared, source.architecture(prepared))
            except ValueError as error:
                return Checkpoint(file, source, prepared, None, str(error))
    names = [repr(name) for name in list(state)[:_MOST_NAMES]]
    more = len(state) - len(names)
    raise ValueError(
        f"{file}: no known package names its weights so: {', '.join(names)}"
        + (f" and {more} more" if more > 0 else "")
        + f". Known are {'; '.join(source.title for source in SOURCES)}"
    )


def _without_first_part(state: State) -> State:
    """Returns a state dict without the first part of all names, if they share it.

    It is the attribute in which a training framework keeps the network, such as "model".
    """
    first = next(iter(state), "").partition(".")[0] + "."
    if not all(name.startswith(first) for name in state):
        return state
    return {name.removeprefix(first): array for name, array in state.items()}


def require_architecture(checkpoint: Checkpoint) -> Architecture:
    """Returns the model that a checkpoint holds.

    Raises:
        ValueError: If this package has none that is equal to it; the message gives the reason.
    """
    if checkpoint.architecture is None:
        raise ValueError(
            f"{checkpoint.file} is a checkpoint of {checkpoint.source.title}, but no model here is "
            f"equal to it: {checkpoint.reason}"
        )
    return checkpoint.architecture


def load_checkpoint(model: keras.Model, checkpoint: Checkpoint, strict: bool) -> LoadedWeights:
    """Loads a checkpoint into a model, name to name.

    Args:
        model: The model. It need not have the auxiliary head of the checkpoint.
        checkpoint: The checkpoint.
        strict: Whether all weights must fit; otherwise, as `pdanet_tf.weights.files.load_weights`
            describes, the backbone must, and of the head those are loaded that do.

    Raises:
        ValueError: If the weights do not fit. The message names the model that they fit, and lists
            every kind of difference; nothing is loaded then.
    """
    if strict:
        require_architecture(checkpoint)
    _check_stem(model, checkpoint)
    known = checkpoint.architecture
    advice = "" if known is None else f"\nThe nearest model is {known.describe()}"
    try:
        return load_stored(model, _stored(model, checkpoint), strict)
    except ValueError as error:
        raise ValueError(f"{error}{advice}") from error


def unused_names(model: keras.Model, checkpoint: Checkpoint) -> list[str]:
    """Returns the names of a checkpoint that a model has no use for, all of known kinds."""
    source = checkpoint.source
    used = set(source.names(weight.path for weight in model.weights).values())
    return [
        name
        for name in checkpoint.state
        if name not in used and (source.unused.search(name) or source.auxiliary.match(name))
    ]


def _stored(model: keras.Model, checkpoint: Checkpoint) -> StoredWeights:
    """Returns the weights of a checkpoint under the paths of a model's variables.

    Weights that the model does not have keep their names, and do not fit.
    """
    source, unused = checkpoint.source, set(unused_names(model, checkpoint))
    names = source.names(weight.path for weight in model.weights)
    paths = {name: path for path, name in names.items()}
    arrays = {
        paths.get(name, name): source.to_keras(np.asarray(array), name)
        for name, array in checkpoint.state.items()
        if name not in unused
    }
    inside = {paths.get(name, name) for name in checkpoint.state if source.backbone.match(name)}
    known = checkpoint.architecture
    return StoredWeights(
        checkpoint.file,
        arrays,
        None if known is None else known.model,
        inside & arrays.keys(),
        None if known is None else known.normalization,
        names,
    )


def _check_stem(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Raises if a model has another stem than a checkpoint.

    The message is shorter than the list of all weights that differ.
    """
    found = None if checkpoint.architecture is None else checkpoint.architecture.stem
    expected = stem_of({weight.path: tuple(weight.shape) for weight in model.weights})
    if None not in (found, expected) and found != expected:
        raise ValueError(
            f"The weights in {checkpoint.file} belong to a backbone with stem={found!r}; "
            f"{model.name!r} has stem={expected!r}, so nothing was loaded. Build the model with "
            f"stem={found!r}"
        )
