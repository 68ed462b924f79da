"""Images of every kind as arrays of pixels."""

import os

import numpy as np
from PIL import Image

from pdanet_tf.data.readers import convert_to_rgb, read_image

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


def read_pixels(image: ImageLike) -> np.ndarray:
    """Returns an image as `(height, width, 3)`, uint8, RGB.

    Args:
        image: As `Predictor.predict` takes it.

    Raises:
        DataError: If a file is missing, truncated or no image.
        ValueError: If an array has another shape or dtype.
    """
    if isinstance(image, Image.Image):
        return np.asarray(convert_to_rgb(image, honour_orientation=True))
    if not isinstance(image, np.ndarray):
        return read_image(image, honour_orientation=True)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            "An image must have the shape (height, width, 3), with the channels red, green and "
            f"blue, and dtype uint8. Received: shape={image.shape}, dtype={image.dtype}"
        )
    return image
