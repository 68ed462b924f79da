"""Where half precision is not enough."""

from typing import Any

import keras
from keras import ops


def full_precision_dtype(dtype: str) -> str:
    """Returns float64 for float64, and float32 for everything else."""
    return "float64" if dtype == "float64" else "float32"


def full_precision(tensor: Any) -> Any:
    """Casts to float32, and leaves float64 as it is."""
    return ops.cast(tensor, full_precision_dtype(keras.backend.standardize_dtype(tensor.dtype)))
