"""Data sets in folders, for tests."""

import numpy as np
from PIL import Image


def write_folder(root, count=3, size=(24, 32), splits=("train", "validation"), highest=2):
    """Writes a data set of a few pictures of 3 classes, and returns its folder."""
    rng = np.random.default_rng(0)
    for split in splits:
        for index in range(count):
            label = rng.integers(0, highest + 1, (4, 4)).astype("uint8")
            label.flat[0] = highest
            label = np.asarray(Image.fromarray(label).resize(size[::-1], Image.NEAREST))
            image = np.stack([label * 80] * 3, -1) + rng.integers(0, 20, (*size, 3))
            for kind, array, ending in (
                ("images", image.astype("uint8"), "jpg"),
                ("annotations", label, "png"),
            ):
                path = root / kind / split / f"scene_{index}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root
