"""Weights of the reference's PyTorch models.

The reference stores two state dicts per model, `encoder` and `decoder`. Every variable's path is
translated to one of their names; nothing goes by position.
"""

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.weights import assign_weights

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
_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# The author's dual attention computes two outputs that it discards; batch norm counts its
# batches; a classification backbone has a classifier.
_UNUSED = re.compile(r"(^|\.)(conv6|conv7)\.1\.(weight|bias)$|\.num_batches_tracked$|^fc\.")


def load_torch_state_dict(
    model: keras.Model, encoder: Mapping[str, Any], decoder: Mapping[str, Any]
) -> list[str]:
    """Loads a checkpoint of the reference's PyTorch code into a model.

    Args:
        model: A model of `build_model`, of any family that the reference has.
        encoder: Arrays by name, as in `encoder_epoch_N.pth`, in PyTorch's layout: convolution
            kernels `(out, in, height, width)`.
        decoder: Arrays by name, as in `decoder_epoch_N.pth`.

    Returns:
        The names that have no use here, all of kinds known to be unused: the two convolutions of
        the author's dual attention whose outputs he discards, the batch counters of PyTorch's
        batch norm, and a classification backbone's classifier.

    Raises:
        ValueError: If weights are missing, left over or misshapen. All are listed, and nothing
            is loaded.

    Example:
        ```python
        model = pdanet_tf.build_model("pspnet_resnet18", aux_head=True)
        encoder = read_torch_file("encoder_epoch_20.pth")
        load_torch_state_dict(model, encoder, read_torch_file("decoder_epoch_20.pth"))
        ```
    """
    state = {f"encoder.{name}": array for name, array in encoder.items()}
    state |= {f"decoder.{name}": array for name, array in decoder.items()}
    return _load(model, state)


def load_torch_backbone(backbone: keras.Model, state: Mapping[str, Any]) -> list[str]:
    """Loads a PyTorch backbone: an encoder of the reference, or a ResNet of torchvision.

    Args:
        backbone: A backbone of `pdanet_tf.backbones`, such as `model.get_layer("resnet50")`; with
            `stem="7x7"` for torchvision's weights.
        state: Arrays by name, in PyTorch's layout.

    Returns:
        The names that have no use here: batch counters and the classifier (`fc`).

    Raises:
        ValueError: If weights are missing, left over or misshapen. All are listed, and nothing
            is loaded.
    """
    return _load(backbone, {f"encoder.{name}": array for name, array in state.items()})


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dict that PyTorch saved, in its old or its new format.

    Nothing in the file is executed.

    Args:
        path: The `.pth` file.

    Returns:
        Arrays by name, in PyTorch's layout.

    Raises:
        ImportError: If PyTorch is not installed (extra `torch`).
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds anything but tensors by name.
    """
    torch = import_torch()
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path}: not a state dict of PyTorch, or one that holds more than tensors, which is "
            f"refused: {str(error).splitlines()[0]}"
        ) from error
    strange = (
        [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
        if isinstance(state, Mapping)
        else [type(state).__name__]
    )
    if strange:
        raise ValueError(
            f"{path}: expected tensors by name. Received: {', '.join(map(str, strange))}"
        )
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


def import_torch() -> Any:
    """Returns PyTorch, or raises an `ImportError` that names the extra."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Reading PyTorch's files needs PyTorch: install pdanet_tf with the extra 'torch'."
        ) from error
    return torch


def _load(model: keras.Model, state: Mapping[str, Any]) -> list[str]:
    """Assigns what has a use, and returns the names of what is known to have none."""
    unused = [name for name in state if _UNUSED.search(name.partition(".")[2])]
    paths = {name: path for path, name in torch_names(model).items()}
    arrays = {
        # A name that is not ours stays as it is, and is then reported as unexpected.
        paths.get(name, name): _to_keras_layout(np.asarray(array), name)
        for name, array in state.items()
        if name not in unused
    }
    assign_weights(model, arrays, source="the PyTorch state dict")
    return unused


def torch_names(model: keras.Model) -> dict[str, str]:
    """Returns the reference's name for the path of each variable of a model.

    Names begin with "encoder." or "decoder.".

    Raises:
        ValueError: If the reference has no such model.
    """
    paths = [variable.path for variable in model.weights]
    head = _PYRAMID_HEAD if any(path.startswith("pyramid/") for path in paths) else _HEAD
    names = {}
    for path in paths:
        layer, _, variable = path.rpartition("/")
        module = _encoder_module(layer) or _decoder_module(layer, head)
        if module is None:
            raise ValueError(f"The reference's models have no counterpart of {path!r}.")
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


def _variable_name(layer: str, variable: str) -> str:
    # Batch norm's scale and attention's are both called gamma here.
    return "gamma" if layer.endswith("attention") else _VARIABLES[variable]


def _to_keras_layout(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.reshape(()) if name.endswith(".gamma") else array
