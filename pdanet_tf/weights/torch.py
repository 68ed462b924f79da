"""Loading the weights of the reference's PyTorch models.

The reference stores two state dicts per model, `encoder` and `decoder`. The path of every variable
is translated to a name in one of them; nothing is mapped by position.
"""

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.weights.assign import assign_weights, check_numbers
from pdanet_tf.weights.fitting import StoredWeights, stem_of
from pdanet_tf.weights.sources.reference import REFERENCE
from pdanet_tf.weights.sources.resnet import resnet_stem

# The prefixes that PyTorch's wrappers of modules (DataParallel, compile) add to every name.
WRAPPER = re.compile(r"(?<![^.])(module|_orig_mod)\.")
_PARTS = ("encoder", "decoder")
# The keys of the weights in files of training scripts that also hold other things.
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network")


def load_torch_state_dict(
    model: keras.Model,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any] | None = None,
    *,
    source: str = "the PyTorch state dict",
) -> list[str]:
    """Loads a checkpoint of the reference's PyTorch code into a model.

    A state dict shows the stem of its backbone, but not the output stride and the normalisation of
    pixels that it was trained with. The caller must build the model with those of the checkpoint.

    Args:
        model: A model of `build_model`, of a family that the reference has, too.
        encoder: Arrays by name, as in `encoder_epoch_N.pth`, in PyTorch's layout: convolution
            kernels `(out, in, height, width)`. The prefix `"module."` that `DataParallel` adds to
            names is ignored.
        decoder: Arrays by name, as in `decoder_epoch_N.pth`; None if `encoder` holds both
            parts, under names that begin with `"encoder."` and `"decoder."`.
        source: Where the arrays come from, for the messages.

    Returns:
        The unused names, all of known kinds: the two convolutions of the author's dual attention
        whose outputs are discarded, the counters and duplicates of batch norm, the classifier of a
        classification backbone, the weights of a loss, and deep supervision if the model has none.

    Raises:
        ValueError: If weights are missing, left over, of the wrong shape or not finite, or belong
            to another stem. The message lists them, and nothing is loaded.

    Example:
        ```python
        model = pdanet_tf.build_model("pspnet_resnet18", aux_head=True)
        encoder = read_torch_file("encoder_epoch_20.pth")
        load_torch_state_dict(model, encoder, read_torch_file("decoder_epoch_20.pth"))
        ```
    """
    state = torch_parts(encoder, decoder)
    _check_stem(model, state, source)
    return _load(model, state, source)


def load_torch_backbone(
    backbone: keras.Model, state: Mapping[str, Any], *, source: str = "the PyTorch state dict"
) -> list[str]:
    """Loads a PyTorch backbone: an encoder of the reference, or a ResNet of torchvision.

    Args:
        backbone: A backbone of `pdanet_tf.backbones`, such as `model.get_layer("resnet50")`; with
            `stem="7x7"` for torchvision's weights.
        state: Arrays by name, in PyTorch's layout.
        source: Where the arrays come from, for the messages.

    Returns:
        The unused names: the counters and duplicates of batch norm, and the classifier (`fc`).

    Raises:
        ValueError: If weights are missing, left over, of the wrong shape or not finite, or belong
            to another stem. The message lists them, and nothing is loaded.
    """
    part = _part(state, "encoder")
    _check_stem(backbone, part, source)
    return _load(backbone, {f"encoder.{name}": array for name, array in part.items()}, source)


def torch_stem(encoder: Mapping[str, Any]) -> str | None:
    """Returns the stem of a checkpoint's ResNet: `"deep"`, `"7x7"`, or None if it has neither.

    Args:
        encoder: Arrays by name, as for `load_torch_state_dict`.
    """
    part = _part(encoder, "encoder")
    return resnet_stem({name: np.asarray(array) for name, array in part.items()})


def _check_stem(model: keras.Model, encoder: Mapping[str, Any], source: str) -> None:
    """Raises if a model and a checkpoint have different stems.

    The message is shorter than the list of all arrays that differ.
    """
    expected = stem_of({weight.path: tuple(weight.shape) for weight in model.weights})
    found = torch_stem(encoder)
    if None not in (found, expected) and found != expected:
        raise ValueError(
            f"The weights in {source} belong to a backbone with stem={found!r}; {model.name!r} "
            f"has stem={expected!r}, so nothing was loaded. Build the model with stem={found!r}"
        )


def torch_parts(
    encoder: Mapping[str, Any], decoder: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns a checkpoint's arrays under names that begin with "encoder." and "decoder.".

    Args:
        encoder: As for `load_torch_state_dict`.
        decoder: As for `load_torch_state_dict`.
    """
    parts = zip(_PARTS, (encoder, encoder if decoder is None else decoder), strict=True)
    return {
        f"{part}.{name}": array
        for part, state in parts
        for name, array in _part(state, part).items()
    }


def _part(state: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Returns the arrays of the encoder or of the decoder, under the reference's own names."""
    arrays = {WRAPPER.sub("", name): array for name, array in state.items()}
    if len(arrays) < len(state):
        raise ValueError("The state dict holds the same names with and without 'module.'")
    if not any(name.startswith(("encoder.", "decoder.")) for name in arrays):
        return arrays
    # Names that belong to neither part are reported once, as the encoder's.
    belongs = re.compile(r"(?!decoder\.)" if part == "encoder" else r"decoder\.")
    return {
        name.removeprefix(f"{part}."): array
        for name, array in arrays.items()
        if belongs.match(name)
    }


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dict that PyTorch saved, in its old or its new format.

    Nothing in the file is executed. If the file of a training script holds the state dict among
    other things, as in `{"state_dict": ..., "epoch": 20}` or `{"encoder": ..., "decoder": ...}`,
    the state dict is extracted. The other things may be numbers and arrays of NumPy, and the
    history of losses that mmengine keeps, which is ignored.

    Args:
        path: The `.pth` file.

    Returns:
        Arrays by name, in PyTorch's layout. bfloat16, float16 and sparse tensors become float32
        arrays.

    Raises:
        ImportError: If PyTorch is not installed (extra `torch`).
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If the file is damaged, holds anything but tensors by name, or holds weights
            that are not finite real numbers; the message names the file.
    """
    torch = import_torch()
    state = _unwrap(_load_content(path))
    unexpected = (
        [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
        if isinstance(state, Mapping)
        else [type(state).__name__]
    )
    if unexpected or not state:
        listed = ", ".join(map(str, unexpected[:5])) or "nothing"
        raise ValueError(f"{path}: expected tensors by name. Received: {listed}")
    arrays = {}
    for name, tensor in state.items():
        try:
            arrays[str(name)] = _to_numpy(tensor)
        except Exception as error:  # a tensor without values, an unknown dtype, ...
            raise ValueError(f"{path}: {name} cannot be read: {error}") from error
    used = ((name, array) for name, array in arrays.items() if not REFERENCE.unused.search(name))
    check_numbers(used, str(path))
    return arrays


def read_torch_entry(path: str | os.PathLike[str], *keys: str) -> Any:
    """Reads an entry of nested dicts in a file that PyTorch saved, such as `("meta", "config")`.

    Args:
        path: The file.
        *keys: The key of each dict, the outermost first.

    Returns:
        The entry; None if the file has none.

    Raises:
        ValueError: See `read_torch_file`, which also raises the other errors of this function.
    """
    content = _load_content(path)
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _load_content(path: str | os.PathLike[str]) -> Any:
    """Returns what a file of PyTorch holds, without executing anything in it."""
    torch = import_torch()
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}")
    with open(path, "rb"):
        pass  # PyTorch reports an unreadable file as a damaged one
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")  # about file formats and sparse tensors
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can lead PyTorch to raise anything
        raise ValueError(
            f"{path}: not a state dict of PyTorch, or a damaged one{_reason(error)}. A file that "
            "holds more than tensors, such as a whole model, is refused, since reading it would "
            "execute code: save model.state_dict() alone"
        ) from error


class _Ignored:
    """Stands for an object of another package, and keeps nothing of it."""

    def __new__(cls, *_: Any) -> "_Ignored":
        """Takes any arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Takes any state."""


def _harmless() -> list[Any]:
    """Returns what files may hold besides tensors: NumPy's numbers and arrays, mmengine's history.

    These are the names that PyTorch's documentation lists for NumPy. mmengine's history refers to
    `getattr`; what stands for both here does nothing.
    """
    dtypes = {np.dtype, *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdU")}
    makers = {
        "scalar": np.float64(0).__reduce__()[0],
        "_reconstruct": np.empty(0).__reduce__()[0],
    }
    return [
        np.ndarray,
        *dtypes,
        *(
            (function, f"numpy.{core}.multiarray.{name}")
            for name, function in makers.items()
            for core in ("core", "_core")
        ),
        (_Ignored, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_Ignored, "builtins.getattr"),
    ]


def _unwrap(content: Any) -> Any:
    """Returns the mapping of tensors in the content of a file that may hold other things, too."""
    if isinstance(content, Mapping):
        inner = [content[name] for name in _STATE_DICTS if name in content]
        content = next((state for state in inner if isinstance(state, Mapping)), content)
    if isinstance(content, Mapping) and all(
        isinstance(content.get(part), Mapping) for part in _PARTS
    ):
        return {
            f"{part}.{name}": tensor for part in _PARTS for name, tensor in content[part].items()
        }
    return content


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().to_dense()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    return tensor.numpy()


def _reason(error: Exception) -> str:
    """Returns the cause that PyTorch names, without its advice to execute the file."""
    _, found, reason = str(error).partition("WeightsUnpickler error:")
    words = " ".join((reason if found else str(error)).split())
    reason = re.split(r"(?<=default)\. |Please use|Check the documentation|\. This is an", words)[0]
    # A bare number or letter, such as a code in the file, would not help a user.
    return f" ({reason.strip()[:200]})" if re.search(r"[A-Za-z]{2}", reason) else ""


def import_torch() -> Any:
    """Returns PyTorch, or raises an `ImportError` that names the extra."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Reading PyTorch's files requires PyTorch: install pdanet_tf with the extra 'torch'."
        ) from error
    return torch


def _load(model: keras.Model, state: Mapping[str, Any], source: str) -> list[str]:
    """Assigns the arrays of a state dict to a model, and returns the names of the unused ones."""
    names = torch_names(model)
    has_deep_supervision = any(map(REFERENCE.auxiliary.match, names.values()))
    unused = [
        name
        for name in state
        if REFERENCE.unused.search(name)
        or (not has_deep_supervision and REFERENCE.auxiliary.match(name))
    ]
    paths = {name: path for path, name in names.items()}
    arrays = {
        # An unknown name stays as it is, and `assign_weights` reports it as unexpected.
        paths.get(name, name): REFERENCE.to_keras(np.asarray(array), name)
        for name, array in state.items()
        if name not in unused
    }
    assign_weights(model, arrays, source=source)
    return unused


def stored_torch_weights(
    model: keras.Model, encoder: Mapping[str, Any], decoder: Mapping[str, Any], **facts: Any
) -> StoredWeights:
    """Returns a checkpoint's weights for `load_stored`, which loads those that fit into a model.

    Args:
        model: The model that the weights are for. Weights of heads that it does not have are left
            out.
        encoder: As for `load_torch_state_dict`.
        decoder: As for `load_torch_state_dict`.
        **facts: Other attributes of `StoredWeights`.
    """
    paths = {name: path for path, name in REFERENCE.names(_paths(model)).items()}
    arrays, backbone_paths = {}, set()
    for name, array in torch_parts(encoder, decoder).items():
        # A pyramid of other layers is not the model's, even if the batch norm of both fits.
        other_level = re.match(r"decoder\.ppm\.(\d+)\.(.*)", name)
        if name in paths:
            path = paths[name]
        elif REFERENCE.unused.search(name) or not (other_level or name.startswith("encoder.")):
            continue
        else:
            path = f"pyramid/level_{other_level[1]}/{other_level[2]}" if other_level else name
        arrays[path] = REFERENCE.to_keras(np.asarray(array), name)
        if name.startswith("encoder."):
            backbone_paths.add(path)
    return StoredWeights(arrays=arrays, backbone_paths=backbone_paths, **facts)


def torch_names(model: keras.Model) -> dict[str, str]:
    """Returns the reference's name for the path of each variable of a model.

    Names begin with "encoder." or "decoder.".

    Raises:
        ValueError: If the reference has no such model.
    """
    names = REFERENCE.names(_paths(model))
    for path in _paths(model):
        if path not in names:
            raise ValueError(f"The reference's models have no counterpart of {path!r}.")
    return names


def _paths(model: keras.Model) -> list[str]:
    return [variable.path for variable in model.weights]
