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
            f"{_advise(image)}"
        )


def _advise(image: np.ndarray) -> str:
    """Returns how to convert an array that may be an image in another form; "" if it is none."""
    shape = image.shape
    if not image.size:
        return ""
    if image.ndim == 2:
        return ". Repeat grey values for each channel: np.stack([image] * 3, axis=-1)"
    if image.ndim == 3 and shape[0] == 3 and shape[-1] != 3:
        return ". Move the channels to the end: image.transpose(1, 2, 0)"
    if image.ndim == 3 and shape[-1] == 4:
        return ". Leave out the transparency: image[..., :3]"
    if image.ndim == 3 and shape[-1] == 3 and image.dtype.kind == "f":
        if np.nanmin(image) < 0:
            return ". The model normalises pixels itself: give them as they were before, 0 to 255"
        factor = " * 255" if np.nanmax(image) <= 1 else ""
        return f". Convert pixels to 0 to 255: (image{factor}).round().astype('uint8')"
    return ""
