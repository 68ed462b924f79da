"""Reads the state dicts of other packages from files of several formats."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.fields import shorten
from pdanet_tf.weights.assign import check_numbers
from pdanet_tf.weights.endings import STATE_ENDINGS, TORCH_ENDINGS
from pdanet_tf.weights.torch import WRAPPER, read_torch_file


def read_state(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads arrays by name. Nothing in the file is executed.

    Args:
        path: A `.pth`, `.pt` or `.bin` file of PyTorch (extra `torch`), a `.safetensors` file
            (extra `torch`), or a `.npz` file of NumPy.

    Returns:
        Arrays by name, in the layout of the file, without the prefixes `"module."` and
        `"_orig_mod."` of PyTorch's wrappers.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the package that reads such files is not installed.
        OSError: If it cannot be read.
        ValueError: If it is of another kind or damaged, or holds anything but finite real numbers.
    """
    path = Path(path)
    if path.suffix not in STATE_ENDINGS:
        raise ValueError(
            f"A checkpoint of another package must be a {', '.join(STATE_ENDINGS)} file. "
            f"Received: {path}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}")
    state = _READERS[path.suffix](path)
    arrays = {WRAPPER.sub("", name): array for name, array in state.items()}
    if len(arrays) < len(state):
        raise ValueError(f"{path} holds the same names with and without 'module.'")
    return arrays


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            "Reading .safetensors files requires safetensors: install pdanet_tf with the extra "
            "'torch'."
        ) from error
    return _checked(path, load_file)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    def load(path: Path) -> dict[str, np.ndarray]:
        with open(path, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            return dict(file)

    return _checked(path, load)


def _checked(path: Path, load: Callable[[Path], dict[str, Any]]) -> dict[str, np.ndarray]:
    """Returns what a function loads from a file; any error names the file."""
    with open(path, "rb"):
        pass  # raises the error of an unreadable file
    try:
        arrays = load(path)
    except Exception as error:  # a damaged file can lead a reader to raise anything
        raise ValueError(f"{path}: damaged, or of another format: {shorten(str(error))}") from error
    check_numbers(arrays.items(), str(path))
    return arrays


_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    **dict.fromkeys(TORCH_ENDINGS, read_torch_file),
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
