"""Checks of NumPy arrays that users hand over."""

import numpy as np


def check_image(image: np.ndarray) -> None:
    """Checks that an array is an image: `(height, width, 3)`, uint8, not empty.

    Raises:
        ValueError: If it has another shape or dtype.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            "An image must have the shape (height, width, 3), with the channels red, green and "
            f"blue, and dtype uint8. Received: shape={image.shape}, dtype={image.dtype}"
        )
