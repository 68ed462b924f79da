"""Conversion of images of every kind to arrays of pixels."""

import os

import numpy as np
from PIL import Image

from pdanet_tf.base.arrays import check_pixels
from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.data.channel_images import check_format, read_channels
from pdanet_tf.data.readers import convert_to_rgb, read_image
from pdanet_tf.data.stored_images import pillow_image

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


def read_pixels(image: ImageLike, pixel_format: PixelFormat = RGB) -> np.ndarray:
    """Returns an image as `(height, width, channels)`; by default uint8, RGB.

    Args:
        image: One image, as `Predictor.predict` takes it.
        pixel_format: Its format. Files are converted only to RGB with 8 bits.

    Raises:
        DataError: If a file is missing, truncated or not an image.
        ValueError: If an array has another shape or dtype.
    """
    if isinstance(image, np.ndarray):
        check_pixels(image, pixel_format)
        return image
    if isinstance(image, Image.Image):
        if pixel_format.is_rgb:
            return np.asarray(convert_to_rgb(image, honour_orientation=True))
        stored = pillow_image(image, "image", upright=True)
        check_format("image", stored, pixel_format)
        return stored.load()
    if pixel_format.is_rgb and not os.fspath(image).lower().endswith(".npy"):
        return read_image(image, honour_orientation=True)
    return read_channels(image, pixel_format, upright=True)
