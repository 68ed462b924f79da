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

_DUAL_ATTENTION = {
    "position_conv_in/conv": "conv5a.0",
    "position_conv_in/batch_norm": "conv5a.1",
    "position_attention": "sa",
    "position_attention/query": "sa.query_conv",
    "position_attention/key": "sa.key_conv",
    "position_attention/value": "sa.value_conv",
    "position_conv_out/conv": "conv51.0",
    "position_conv_out/batch_norm": "conv51.1",
    "channel_conv_in/conv": "conv5c.0",
    "channel_conv_in/batch_norm": "conv5c.1",
    "channel_attention": "sc",
    "channel_conv_out/conv": "conv52.0",
    "channel_conv_out/batch_norm": "conv52.1",
    "projection": "conv8.1",
}
_HEAD = {
    "head_conv/conv": "cbr.0",
    "head_conv/batch_norm": "cbr.1",
    "classifier": "conv_last",
    "aux_head/conv/conv": "cbr_deepsup.0",
    "aux_head/conv/batch_norm": "cbr_deepsup.1",
    "aux_head/classifier": "conv_last_deepsup",
}
_PYRAMID_HEAD = {
    **_HEAD,
    "fusion/conv": "conv_last.0",
    "fusion/batch_norm": "conv_last.1",
    "classifier": "conv_last.4",
}
# Of UPerNet. A layer of its pyramids has an index in the place of the braces.
_UPERNET_HEAD = {
    "pyramid/level_{}": "ppm_conv.{}",
    "pyramid_conv": "ppm_last_conv",
    "feature_pyramid/lateral_{}": "fpn_in.{}",
    "feature_pyramid/output_{}": "fpn_out.{}.0",
    "fusion": "conv_last.0",
}
_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Names without a counterpart: the two convolutions of the author's dual attention whose outputs are
# discarded; the counters of PyTorch's batch norm; the second copy of the moving averages in the
# reference's synchronized batch norm; the classifier of a classification backbone; the class
# weights of a loss.
_UNUSED = re.compile(
    r"(^|\.)(conv6|conv7)\.1\.(weight|bias)$"
    r"|\.(num_batches_tracked|_tmp_running_mean|_tmp_running_var|_running_iter)$"
    r"|^(fc|crit)\."
)
_DEEP_SUPERVISION = re.compile(r"^(cbr|conv_last)_deepsup\.")
# The prefixes that PyTorch's wrappers of modules (DataParallel, compile) add to every name.
_WRAPPER = re.compile(r"(?<![^.])(module|_orig_mod)\.")
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
    shape = np.shape(part.get("conv1.weight", ()))
    if len(shape) != 4:
        return None
    if shape[2:] == (7, 7):
        return "7x7"
    return "deep" if shape[2:] == (3, 3) and "conv3.weight" in part else None


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
    arrays = {_WRAPPER.sub("", name): array for name, array in state.items()}
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
    the state dict is extracted.

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
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}")
    with open(path, "rb"):
        pass  # PyTorch reports an unreadable file as a damaged one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about file formats and sparse tensors
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can lead PyTorch to raise anything
        raise ValueError(
            f"{path}: not a state dict of PyTorch, or a damaged one{_reason(error)}. A file that "
            "holds more than tensors, such as a whole model, is refused, since reading it would "
            "execute code: save model.state_dict() alone"
        ) from error
    state = _unwrap(content)
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
    used = ((name, array) for name, array in arrays.items() if not _UNUSED.search(name))
    check_numbers(used, str(path))
    return arrays


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
    has_deep_supervision = any(
        _DEEP_SUPERVISION.search(_without_part(name)) for name in names.values()
    )
    unused = [
        name
        for name in state
        if _is_unused(name)
        or (not has_deep_supervision and _DEEP_SUPERVISION.search(_without_part(name)))
    ]
    paths = {name: path for path, name in names.items()}
    arrays = {
        # An unknown name stays as it is, and `assign_weights` reports it as unexpected.
        paths.get(name, name): _to_keras_layout(np.asarray(array), name)
        for name, array in state.items()
        if name not in unused
    }
    assign_weights(model, arrays, source=source)
    return unused


def _is_unused(name: str) -> bool:
    return bool(_UNUSED.search(_without_part(name)))


def _without_part(name: str) -> str:
    """Returns a name without its first part, "encoder." or "decoder."."""
    return name.partition(".")[2]


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
    paths = {name: path for path, name in _known_names(model).items()}
    arrays, backbone_paths = {}, set()
    for name, array in torch_parts(encoder, decoder).items():
        # A pyramid of other layers is not the model's, even if the batch norm of both fits.
        other_level = re.match(r"decoder\.ppm\.(\d+)\.(.*)", name)
        if name in paths:
            path = paths[name]
        elif _is_unused(name) or not (other_level or name.startswith("encoder.")):
            continue
        else:
            path = f"pyramid/level_{other_level[1]}/{other_level[2]}" if other_level else name
        arrays[path] = _to_keras_layout(np.asarray(array), name)
        if name.startswith("encoder."):
            backbone_paths.add(path)
    return StoredWeights(arrays=arrays, backbone_paths=backbone_paths, **facts)


def torch_names(model: keras.Model) -> dict[str, str]:
    """Returns the reference's name for the path of each variable of a model.

    Names begin with "encoder." or "decoder.".

    Raises:
        ValueError: If the reference has no such model.
    """
    names = _known_names(model)
    for variable in model.weights:
        if variable.path not in names:
            raise ValueError(f"The reference's models have no counterpart of {variable.path!r}.")
    return names


def _known_names(model: keras.Model) -> dict[str, str]:
    """Returns the reference's names for the paths of the variables that the reference has."""
    paths = [variable.path for variable in model.weights]
    head = _PYRAMID_HEAD if any(path.startswith("pyramid/") for path in paths) else _HEAD
    has_feature_pyramid = any(path.startswith("feature_pyramid/") for path in paths)
    names = {}
    for path in paths:
        layer, _, variable = path.rpartition("/")
        module = _encoder_module(layer) or (
            _upernet_module(layer) if has_feature_pyramid else _decoder_module(layer, head)
        )
        if module is not None:
            names[path] = f"{module}.{_variable_name(layer, variable)}"
    return names


def _encoder_module(layer: str) -> str | None:
    if match := re.fullmatch(r"stem_conv(\d)/(conv|batch_norm)", layer):
        index, part = match.groups()
        return f"encoder.{'conv' if part == 'conv' else 'bn'}{index}"
    pattern = r"c(\d)_block(\d+)_(conv|shortcut)(\d?)/(conv|batch_norm)"
    if match := re.fullmatch(pattern, layer):
        stage, block, branch, index, part = match.groups()
        prefix = f"encoder.layer{int(stage) - 1}.{int(block) - 1}"
        if branch == "shortcut":
            return f"{prefix}.downsample.{0 if part == 'conv' else 1}"
        return f"{prefix}.{'conv' if part == 'conv' else 'bn'}{index}"
    return None


def _decoder_module(layer: str, head: Mapping[str, str]) -> str | None:
    if layer in head:
        return f"decoder.{head[layer]}"
    _, dual_attention, inside = layer.partition("dual_attention/")
    level = re.match(r"pyramid/level_(\d+)/", layer)
    if dual_attention and inside in _DUAL_ATTENTION:
        prefix = f"ppm.{level[1]}.1" if level else "dam.0"
        return f"decoder.{prefix}.{_DUAL_ATTENTION[inside]}"
    if level and layer.endswith(("/conv", "/batch_norm")):
        return f"decoder.ppm.{level[1]}.{1 if layer.endswith('/conv') else 2}"
    return None


def _upernet_module(layer: str) -> str | None:
    if layer == "classifier":
        return "decoder.conv_last.1"
    conv, _, part = layer.rpartition("/")
    index = re.search(r"\d+$", conv)
    module = _UPERNET_HEAD.get(re.sub(r"\d+$", "{}", conv))
    if module is None:
        return None
    return f"decoder.{module.format(index and index[0])}.{0 if part == 'conv' else 1}"


def _variable_name(layer: str, variable: str) -> str:
    # In this package, the scale of batch norm and the scale of attention are both called gamma.
    return "gamma" if layer.endswith("attention") else _VARIABLES[variable]


def _to_keras_layout(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.reshape(()) if name.endswith(".gamma") else array
