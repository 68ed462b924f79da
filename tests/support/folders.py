"""Data sets in folders, for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_folder(
    root: Path,
    count: int = 3,
    size: tuple[int, int] = (24, 32),
    splits: Sequence[str] = ("train", "validation"),
    highest: int = 2,
) -> Path:
    """Writes a small data set and returns its folder.

    Args:
        root: The folder.
        count: Number of images of each split.
        size: `(height, width)` of each image.
        splits: Names of the splits.
        highest: Highest label; every annotation has it, beside random ones from 0.
    """
    rng = np.random.default_rng(0)
    for split in splits:
        for index in range(count):
            label = rng.integers(0, highest + 1, (4, 4)).astype("uint8")
            label.flat[0] = highest
            label = np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
            image = np.stack([label * 80] * 3, -1) + rng.integers(0, 20, (*size, 3))
            for kind, array, ending in (
                ("images", image.astype("uint8"), "jpg"),
                ("annotations", label, "png"),
            ):
                path = root / kind / split / f"scene_{index}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root
