"""Answers of the server: figures and arrays in one body, which the page reads without decoding."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def pack(figures: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns figures and arrays as bytes.

    4 bytes, little-endian: the length of a header; the header, JSON in UTF-8: the figures, and
    under "arrays" the name, the type and the shape of each array; then the arrays, little-endian,
    the first axis outermost.

    Args:
        figures: Anything that JSON can hold, without the key "arrays".
        arrays: Arrays of uint8 or uint16 by name.
    """
    described = [
        {"name": name, "dtype": str(array.dtype), "shape": array.shape}
        for name, array in arrays.items()
    ]
    header = json.dumps({**figures, "arrays": described}).encode()
    contents = [
        array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        for array in arrays.values()
    ]
    return b"".join([len(header).to_bytes(4, "little"), header, *contents])


def to_bytes(values: np.ndarray, highest: float = 1.0) -> np.ndarray:
    """Returns values from 0 to `highest` as uint8, 0 to 255, rounded."""
    scale = 255 / highest if highest else 0.0
    return (values * np.float32(scale) + np.float32(0.5)).astype("uint8")
