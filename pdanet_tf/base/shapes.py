"""Checks of shapes."""

from pdanet_tf.base.types import Shape


def channels_of(shape: Shape) -> int:
    """Returns the number of channels, the last axis of a shape.

    Raises:
        ValueError: If it is None.
    """
    channels = shape[-1]
    if channels is None:
        raise ValueError(
            "The number of channels, the last axis of the inputs, must be known. "
            f"Received: input_shape={tuple(shape)}"
        )
    return channels
