"""Reads single files of masks, and brings them to the size of their image."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import decoding, open_image, read_label
from pdanet_tf.data.validation.image import size_problem

_SHOWN = 5
_RESIZE = "Save both at one size; or set resize_masks=True, which takes the nearest pixel"
# Reads a file; returns its pixels, `(height, width)`, and what is wrong with them.
Read = Callable[[Path], tuple[np.ndarray, list[Problem]]]


def read_fitted(
    read: Read, path: Path, size: tuple[int, int], *, resize: bool
) -> tuple[np.ndarray, list[Problem]]:
    """Reads an annotation, and brings it to the size of its image or reports its size."""
    label, problems = read(path)
    if label.shape == size:
        return label, problems
    if not resize:
        problem = size_problem(str(path), size, label.shape)
        return label, [Problem(problem.file, problem.kind, problem.text, _RESIZE)]
    rows, columns = (
        ((np.arange(side) + 0.5) * stored / side).astype(int)
        for side, stored in zip(size, label.shape, strict=True)
    )
    return label[rows[:, None], columns], problems


def read_binary_mask(path: Path) -> tuple[np.ndarray, list[Problem]]:
    """Reads a mask of 0 and 255 or 1 as `(height, width)`, bool; other values are a problem."""
    values = read_label(path)
    found, counts = np.unique(values, return_counts=True)
    highest = 1 if found[-1] <= 1 else 255
    wrong = (found != 0) & (found != highest)
    if not wrong.any():
        return values == highest, []
    shown = list_values(found[wrong].tolist())
    text = f"contains {shown} in {counts[wrong].sum():,} pixels, beside 0"
    advice = "Save the mask with 0 and 255 only: without smooth edges and lossy compression"
    return values > highest // 2, [Problem(str(path), "not binary", text, advice)]


def read_rgb(path: Path) -> np.ndarray:
    """Reads an annotation of colours as `(height, width, 3)`, uint8.

    Raises:
        DataError: If it cannot be read, or is of a format that changes colours.
    """
    with open_image(path) as image, decoding(path, "annotation"):
        if image.format == "JPEG" or image.format == "WEBP":
            raise DataError(
                Problem(
                    str(path),
                    "annotation format",
                    f"the annotation is a {image.format} file, which changes colours",
                    "Create the annotation again as a PNG",
                )
            )
        return np.asarray(image.convert("RGB"))


def list_values(values: Sequence[int]) -> str:
    """Returns the first of some values as text."""
    shown = ", ".join(map(str, values[:_SHOWN]))
    return f"the values {shown}{', ...' if len(values) > _SHOWN else ''}"
