"""What a source of checkpoints is, and what it finds in one."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

State = Mapping[str, np.ndarray]

# The endings of PyTorch's names, by the names of Keras' variables.
VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
NOTHING = re.compile(r"(?!)")
# The counters of PyTorch's batch norm.
COUNTERS = re.compile(r"(^|\.)num_batches_tracked$")


@dataclass(frozen=True)
class Architecture:
    """The model that a checkpoint holds: arguments of `build_model`.

    An attribute that the checkpoint does not show is None.

    Attributes:
        model: Name of the model.
        num_classes: Number of classes.
        variant: Variant of the model; None for that of this package.
        stem: Stem of its ResNet, if the model or the variant has a choice of it.
        output_stride: Output stride of its backbone.
        aux_head: Whether it has an auxiliary head.
        normalization: How its pixels are normalised.
        options: Options of the head that differ from the defaults.
        assumed: What no weight shows besides the output stride and the normalisation, in words.
    """

    model: str
    num_classes: int
    variant: str | None = None
    stem: str | None = None
    output_stride: int | None = None
    aux_head: bool = False
    normalization: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    def describe(self) -> str:
        """Returns the model and the arguments that build it, without its auxiliary head."""
        known = self._arguments()
        words = [f"{name}={value!r}" for name, value in known.items() if name != "model"]
        return f"{self.model} with {', '.join(words)}"

    def _arguments(self) -> dict[str, Any]:
        """Returns the known arguments of `build_model`, except `aux_head`."""
        names = ("model", "num_classes", "variant", "stem", "output_stride", "normalization")
        found = {name: getattr(self, name) for name in names}
        return {
            name: value for name, value in {**found, **self.options}.items() if value is not None
        }

    def complete(self, file: str, **given: Any) -> dict[str, Any]:
        """Returns arguments of `build_model`: the given ones, and those of the checkpoint.

        Args:
            file: The file of the checkpoint, for the message.
            **given: Arguments of `build_model`; None for those that are not chosen.

        Raises:
            ValueError: If a given argument contradicts the checkpoint.
        """
        known = self._arguments()
        chosen = {name: value for name, value in given.items() if value is not None}
        wrong = {
            name: value
            for name, value in chosen.items()
            # A checkpoint of the model of this package fits no variant of it.
            if name in (*known, "variant") and value != known.get(name)
        }
        if wrong:
            listed = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
            raise ValueError(
                f"The checkpoint {file} belongs to {self.describe()}. Received: {listed}"
            )
        return {**known, **chosen}


@dataclass(frozen=True)
class Source:
    """A package, or a family of files, that names the weights of networks in its own way.

    Attributes:
        title: Its name, for messages and the documentation.
        recognises: Whether a checkpoint is of this source, by its names alone. At most one source
            recognises a checkpoint.
        architecture: Finds the model. It raises a `ValueError` that gives the reason if no model
            of this package can be equal to it.
        names: Takes the paths of the variables of a model, and returns the source's name for each
            of those that the source has. The model may be another one than the checkpoint's, as
            when only the backbone is to be loaded.
        backbone: Matches the beginning of the names of the backbone's weights.
        auxiliary: Matches the beginning of the names of an auxiliary head's weights.
        unused: Finds names without a counterpart that are known and not needed, such as counters.
        prepare: Changes a checkpoint before all else, such as the names of older versions.
        to_keras: Takes an array and its name, and returns it in the layout of Keras.
        complete: Takes the model that the weights show, and the file, and adds what else the file
            says about it. It raises as `architecture` does.
    """

    title: str
    recognises: Callable[[State], bool]
    architecture: Callable[[State], Architecture]
    names: Callable[[Iterable[str]], dict[str, str]]
    backbone: re.Pattern[str]
    auxiliary: re.Pattern[str] = NOTHING
    unused: re.Pattern[str] = COUNTERS
    prepare: Callable[[State], State] = dict
    to_keras: Callable[[np.ndarray, str], np.ndarray] = lambda array, name: to_keras_layout(array)
    complete: Callable[[Architecture, Path], Architecture] = lambda found, path: found


def to_keras_layout(array: np.ndarray) -> np.ndarray:
    """Returns PyTorch's array in the layout of Keras.

    Args:
        array: A kernel `(out, in, height, width)`, which becomes `(height, width, in, out)`; or any
            other array, which stays as it is.
    """
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def split_path(path: str) -> tuple[str, str]:
    """Returns the layer in the path of a variable, and PyTorch's name of the variable.

    Example:
        `split_path("fusion/batch_norm/gamma")` returns `("fusion/batch_norm", "weight")`.
    """
    layer, _, variable = path.rpartition("/")
    return layer, VARIABLES.get(variable, variable)


def kernel_shape(state: State, name: str) -> tuple[int, ...]:
    """Returns the shape of a convolution's kernel, `(out, in, height, width)`.

    Raises:
        ValueError: If the checkpoint has no such kernel.
    """
    shape = np.shape(state.get(name, ()))
    if len(shape) != 4:
        raise ValueError(f"{name} must be the kernel of a convolution, and it is not there")
    return shape


def count_classes(state: State, name: str) -> int:
    """Returns the number of classes: the filters of the convolution whose kernel has this name."""
    return int(state[name].shape[0])
