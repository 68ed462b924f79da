"""Loading models and weights from files."""

import difflib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras

from pdanet_tf.base.catalog import model_names
from pdanet_tf.weights.assign import check_numbers
from pdanet_tf.weights.endings import STATE_ENDINGS
from pdanet_tf.weights.fitting import LoadedWeights, StoredWeights, all_loaded, load_stored
from pdanet_tf.weights.h5 import read_weights_h5
from pdanet_tf.weights.hub import local_file
from pdanet_tf.weights.published import CHECKPOINTS
from pdanet_tf.weights.published_files import load_published
from pdanet_tf.weights.shipped import SHIPPED
from pdanet_tf.weights.sources.checkpoint import load_checkpoint, read_checkpoint

# The weights that have a name: in the package, and on the network.
NAMED_WEIGHTS = (*SHIPPED, *CHECKPOINTS)
# Paths of kernels in a `.weights.h5` file, in which Keras names layers after their classes.
_LOGITS_KERNEL = re.compile(r"(^|/)(classifier(_\d+)?|dual_attention/projection)/vars/0$")
_LONGEST_REASON = 500  # characters; a message of Keras may hold a whole configuration


def load_keras_file(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file, or one at an address `hf://owner/name`, without its optimizer.

    Nothing in the file is executed: Keras refuses layers with code, such as `Lambda` layers.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read, or is a folder.
        ValueError: If the file is damaged or not a model, or holds weights that are not finite.
    """
    path = Path(local_file(path))
    _check_file(path, "model")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: {_foreign_format(path)}")
    try:
        with _nothing_left_out():
            model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged or foreign file can lead Keras to raise anything
        raise ValueError(f"{path}: the model cannot be loaded: {_reason(error)}") from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{path}: expected a model. Received: {type(model).__name__}, stored in Keras' format"
        )
    _check_weights(model, path)
    return model


@contextmanager
def _nothing_left_out() -> Iterator[None]:
    """Raises if Keras loads a file inside the block that lacks weights of some layers.

    Keras would leave these layers at their random weights, with a warning. If Keras also raises an
    error after the warning, that error is raised, because it says more.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if "freshly-initialized" in str(warning.message):
            raise ValueError(str(warning.message))
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _check_weights(model: keras.Model, path: Path) -> None:
    arrays = ((weight.path, keras.ops.convert_to_numpy(weight)) for weight in model.weights)
    check_numbers(arrays, str(path))


def _reason(error: Exception) -> str:
    """Returns the cause that Keras names, on one line, without its advice to execute the file."""
    message = str(error).rpartition("Exception encountered:")[2].partition(" If you trust")[0]
    if unknown := re.search(r"Could not locate (?:class|function) '[^']*'", message):
        return (
            f"{unknown[0]}. Import the module that defines and registers it first (command line: "
            "--import MODULE)."
        )
    message = message.partition("List of objects that could not be loaded")[0]
    return " ".join(message.split())[:_LONGEST_REASON] or type(error).__name__


def load_weights(
    model: keras.Model, weights: str | os.PathLike[str], *, strict: bool = True
) -> LoadedWeights:
    """Loads weights from a file or a published checkpoint into a model.

    With `strict=False` the model may have other classes or another head than the stored one. Then
    the backbone is loaded completely, including the statistics of batch norm; of the head every
    part is loaded that has the same name and the same shapes, and the other parts keep their
    values. The state of an optimizer is never loaded.

    Weights for RGB images also fit a model of other channels, with a warning that says how they
    are adapted, except those of a `.weights.h5` file with `strict`. See
    `pdanet_tf.weights.channels.adapt_kernel`.

    Args:
        model: The model.
        weights: A `.keras` or `.weights.h5` file; a `.pth`, `.pt`, `.safetensors` or `.npz` file of
            another package, see `pdanet_tf.weights.sources`; the name of a published checkpoint, or
            that of a model that comes with the package, one of
            `pdanet_tf.weights.shipped.SHIPPED`; or the address of a file on the Hub, such as
            "hf://owner/name", see `pdanet_tf.weights.hub.local_file`.
        strict: Whether the weights must belong to a model of the same kind with as many classes.

    Returns:
        What was loaded; `describe()` says it in a sentence.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the file is one of PyTorch, or a published checkpoint is named, and PyTorch
            is not installed.
        OSError: If a file cannot be read or downloaded, or is a folder.
        ValueError: If the file is damaged or of another kind, if its weights are not finite or do
            not fit (without `strict`: if its backbone does not fit), or if its pixels are
            normalised otherwise. With `strict`, some weights of a `.weights.h5` file may have been
            loaded by then. A `.weights.h5` file of an old Keras, which does not name its layers,
            must fit completely.

    Example:
        ```python
        model = pdanet_tf.build_model("pdanet_resnet18", num_classes=2)
        loaded = load_weights(model, "runs/first/best.keras", strict=False)
        print(loaded.describe())
        ```
    """
    if str(weights) in CHECKPOINTS:
        return load_published(model, str(weights), strict)
    if str(weights) in SHIPPED:
        path, source = SHIPPED[str(weights)].file, f"the trained model {str(weights)!r}"
    else:
        path = Path(local_file(weights))
        source = str(weights)
    _check_file(path, "weights")
    if path.name.endswith(".keras"):
        saved = load_keras_file(path)
        return load_stored(model, StoredWeights.from_model(saved, source), strict)
    if path.suffix in STATE_ENDINGS:
        return load_checkpoint(model, read_checkpoint(weights), strict)
    if not path.name.endswith(".weights.h5"):
        raise ValueError(
            f"weights must be a .keras or a .weights.h5 file, a {', '.join(STATE_ENDINGS)} file of "
            f"another package, or one of the names {', '.join(NAMED_WEIGHTS)}. Received: {path}"
        )
    advice = ""
    if not strict:
        with _named_error(path):
            stored = read_weights_h5(path, model)
        if stored is not None:
            return load_stored(model, stored, strict)
        advice = (
            ". The file does not name its layers, so it cannot be loaded in part; use a .keras file"
        )
    try:
        with _nothing_left_out():
            model.load_weights(path)
    except Exception as error:  # as in `load_keras_file`
        raise ValueError(
            f"The weights in {path} do not fit {model.name!r}, or the file is damaged: "
            f"{_reason(error)}{advice}"
        ) from error
    _check_weights(model, path)
    return all_loaded(model, str(path))


@contextmanager
def _named_error(path: Path) -> Iterator[None]:
    """Names the file in the error about a damaged `.weights.h5` file."""
    try:
        yield
    except Exception as error:  # a damaged file can lead HDF5 to raise anything
        raise ValueError(f"{path}: the weights cannot be read: {_reason(error)}") from error


def count_classes_in_file(path: str | os.PathLike[str]) -> int | None:
    """Returns the number of classes of the model whose weights a `.weights.h5` file holds.

    It is the number of filters of the convolutions that compute logits: `Classifier` layers, and
    the projection of DANet's head.

    Returns:
        The number, or None if the file has no such convolution, or several that differ.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read, or is a folder.
        ValueError: If the file is damaged.
    """
    path = Path(local_file(path))
    _check_file(path, "weights")
    counts: set[int] = set()

    def visit(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and _LOGITS_KERNEL.search(name):
            counts.add(int(entry.shape[-1]))

    with _named_error(path), h5py.File(path) as file:
        file.visititems(visit)
    return counts.pop() if len(counts) == 1 else None


def _check_file(path: Path, kind: str) -> None:
    """Raises if there is no readable file; the message suggests what may have been meant."""
    if path.is_dir():
        best = path / "best.keras"
        hint = f": did you mean {best}?" if best.is_file() else ""
        raise IsADirectoryError(f"{path} is a folder, not a {kind} file{hint}")
    if not path.is_file():
        raise FileNotFoundError(f"There is no {kind} file at {path}{_near_names(path)}")
    with open(path, "rb"):
        pass  # Keras reports an unreadable file as a damaged one.


def _foreign_format(path: Path) -> str:
    """Returns what a file is that is not in Keras' format, and what to do with it."""
    if path.suffix.lower() in (".onnx", ".tflite", ".pb", ".xml"):
        return "an exported model, by its name. Give the .keras file that it was exported from"
    return "not a model in Keras' format (.keras), or a damaged one"


def _near_names(path: Path) -> str:
    """Returns a hint if a path is the name of an architecture, or similar to a checkpoint's."""
    if path.name in model_names():
        return (
            f": {path.name} is an architecture, without weights. Give a .keras file, the name of a "
            f"trained model ({', '.join(NAMED_WEIGHTS)}), or the architecture with weights for it"
        )
    near = difflib.get_close_matches(path.name, NAMED_WEIGHTS, n=2)
    if near:
        return f". Did you mean the trained model {' or '.join(near)}?"
    if path.suffix == ".keras":  # a run that has another name
        found = sorted(path.parent.parent.glob("*/*.keras"))[:3]
        return f". There is {', '.join(map(str, found))}" if found else ""
    return ""
