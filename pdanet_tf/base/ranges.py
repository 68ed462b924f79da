"""Checks of numbers that options and arguments of functions have in common."""

from collections.abc import Sequence

from pdanet_tf.base.fields import shorten


def check_at_least(name: str, value: float, lowest: float) -> None:
    """Raises `ValueError` if a number is below the lowest allowed one."""
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}. Received: {name}={value}")


def check_share(name: str, value: float) -> None:
    """Raises `ValueError` if a number is not from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1. Received: {name}={value}")


def check_class_weights(weights: Sequence[float]) -> None:
    """Raises `ValueError` if there are no weights of classes, or one is below 0."""
    if min(weights, default=-1) < 0:
        raise ValueError(
            "class_weights must be numbers of at least 0, one per class. "
            f"Received: class_weights={shorten(weights)}"
        )


def check_crop_size(crop_size: Sequence[int]) -> None:
    """Raises `ValueError` if the size of a crop is not two integers of at least 1."""
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise ValueError(
            "crop_size must be (height, width), integers of at least 1. "
            f"Received: crop_size={tuple(crop_size)}"
        )


def check_short_edges(short_edges: Sequence[int]) -> None:
    """Raises `ValueError` if there is no short edge, or one is below 1."""
    if not short_edges or min(short_edges) < 1:
        raise ValueError(
            "short_edges must be integers of at least 1. "
            f"Received: short_edges={tuple(short_edges)}"
        )


def check_scale_range(scale_range: Sequence[float]) -> None:
    """Raises `ValueError` if the scales are not above 0, or not in the order lowest, highest."""
    if len(scale_range) != 2 or not all(scale > 0 for scale in scale_range):
        raise ValueError(
            "scale_range must be two scales greater than 0. "
            f"Received: scale_range={tuple(scale_range)}"
        )
    if scale_range[0] > scale_range[1]:
        raise ValueError(
            "scale_range must be in the order lowest, highest. "
            f"Received: scale_range={tuple(scale_range)}"
        )
