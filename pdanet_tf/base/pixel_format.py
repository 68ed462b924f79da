"""The number of channels of the images of a data set or a model, and the type of their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdanet_tf.base.choices import check_choice
from pdanet_tf.base.fields import check_fields, convert_field, shorten
from pdanet_tf.base.wording import quantity

PIXEL_DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class PixelFormat:
    """How many channels images have, and of which type their values are.

    Attributes:
        channels: Number of channels; 3 are red, green and blue.
        dtype: Type of the values: "uint8", "uint16" or "float32"; None if any of them will do.

    Raises:
        ValueError: If a value has another type or is out of range.
    """

    channels: int = 3
    dtype: str | None = "uint8"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1. Received: channels={self.channels}")
        if self.dtype is not None:
            check_choice("dtype", self.dtype, PIXEL_DTYPES)

    @property
    def is_rgb(self) -> bool:
        """Whether images are RGB with 8 bits per channel, as photos are."""
        return self == RGB

    @property
    def highest(self) -> int | None:
        """The highest value: 255 or 65535; None if the type has none."""
        if self.dtype is None or self.dtype == "float32":
            return None
        return int(np.iinfo(self.dtype).max)

    def holds(self, other: "PixelFormat") -> bool:
        """Returns whether images of another format are also of this one."""
        return self.channels == other.channels and self.dtype in (None, other.dtype)

    def __str__(self) -> str:
        channels = quantity(self.channels, "channel")
        return channels if self.dtype is None else f"{channels} of type {self.dtype}"


RGB = PixelFormat()


def check_statistics(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Returns the mean and the standard deviation of each channel as tuples of floats.

    Args:
        mean: One number per channel, or None.
        std: One number per channel, or None.
        channels: Number of channels.

    Raises:
        ValueError: If there is not one finite number per channel, or a standard deviation is not
            above 0.
    """
    checked = []
    for name, values in (("mean", mean), ("std", std)):
        numbers = convert_field(name, values, tuple[float, ...] | None)
        if numbers is not None and len(numbers) != channels:
            raise ValueError(
                f"{name} must have one number per channel, {channels}. "
                f"Received: {name}={shorten(numbers)}"
            )
        checked.append(numbers)
    if checked[1] is not None and min(checked[1]) <= 0:
        raise ValueError(f"std must be above 0. Received: std={shorten(checked[1])}")
    return checked[0], checked[1]
