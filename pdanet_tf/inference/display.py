"""Images of any number of channels as RGB images that people can look at."""

from collections.abc import Sequence

import numpy as np

_PERCENTILES = (2, 98)  # shown as black and as white


def to_rgb(image: np.ndarray, channels: Sequence[int] | None = None) -> np.ndarray:
    """Returns channels of an image as an RGB image.

    Channels of 8 bits are shown as they are. The values of others are scaled channel by channel,
    from the 2nd percentile (black) to the 98th (white), because few cameras use all of 16 bits.

    Args:
        image: `(height, width, channels)`, uint8, uint16 or float32.
        channels: The three channels that become red, green and blue, or one that becomes grey,
            counted from 0. By default the first three; the first one if there are fewer.

    Returns:
        `(height, width, 3)`, uint8.

    Raises:
        ValueError: If there is no such channel, or not one or three are given.
    """
    count = image.shape[-1]
    if channels is None:
        channels = (0, 1, 2) if count >= 3 else (0,)
    check_shown(channels, count)
    if image.dtype == np.uint8 and tuple(channels) == (0, 1, 2) and count == 3:
        return image
    shown = [_to_bytes(image[..., channel]) for channel in channels]
    return np.stack(shown * (3 // len(shown)), axis=-1)


def check_shown(channels: Sequence[int], count: int) -> None:
    """Checks the channels that an overlay shows.

    Args:
        channels: The channels.
        count: Number of channels of the image.

    Raises:
        ValueError: If there is no such channel, or not one or three are given.
    """
    if len(channels) not in (1, 3) or not all(0 <= channel < count for channel in channels):
        raise ValueError(
            "The shown channels must be one or three numbers "
            f"{'0' if count == 1 else f'from 0 to {count - 1}'}. Received: {tuple(channels)}"
        )


def _to_bytes(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    low, high = np.percentile(values, _PERCENTILES)
    if high <= low:  # nearly all pixels have one value
        return np.zeros(values.shape, "uint8")
    scaled = (values.astype("float32") - low) * (255 / (high - low))
    return np.clip(scaled, 0, 255).astype("uint8")
