"""Checks of NumPy arrays that users hand over."""

import numpy as np

from pdanet_tf.base.pixel_format import PIXEL_DTYPES, PixelFormat


def check_pixels(image: np.ndarray, pixel_format: PixelFormat) -> None:
    """Checks that an array is an image of a format: `(height, width, channels)`, not empty.

    Raises:
        ValueError: If it has another shape or dtype, or holds values that are not finite.
    """
    if pixel_format.is_rgb:
        return check_image(image)
    channels, dtype = pixel_format.channels, pixel_format.dtype
    allowed = PIXEL_DTYPES if dtype is None else (dtype,)
    if image.ndim != 3 or image.shape[-1] != channels or image.dtype.name not in allowed:
        raise ValueError(
            f"An image must have the shape (height, width, {channels}) and dtype "
            f"{' or '.join(allowed)}. Received: shape={image.shape}, dtype={image.dtype}"
        )
    if not image.size or not (image.dtype.kind == "u" or np.isfinite(image).all()):
        raise ValueError("An image must have pixels, and finite values. Received others")
    return None


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
