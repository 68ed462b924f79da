"""Images for tests."""

import numpy as np


def random_image(*size: int) -> np.ndarray:
    """An image `(height, width, 3)`, uint8, of random pixels; the same for the same size."""
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
