"""Conversion of images of every kind to arrays of pixels."""

import os

import numpy as np
from PIL import Image

from pdanet_tf.base.arrays import check_image
from pdanet_tf.data.readers import convert_to_rgb, read_image

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


def read_pixels(image: ImageLike) -> np.ndarray:
    """Returns an image as `(height, width, 3)`, uint8, RGB.

    Args:
        image: One image, as `Predictor.predict` takes it.

    Raises:
        DataError: If a file is missing, truncated or not an image.
        ValueError: If an array has another shape or dtype.
    """
    if isinstance(image, Image.Image):
        return np.asarray(convert_to_rgb(image, honour_orientation=True))
    if not isinstance(image, np.ndarray):
        return read_image(image, honour_orientation=True)
    check_image(image)
    return image
