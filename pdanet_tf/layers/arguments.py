"""Checks of the arguments of layers and heads."""

from collections.abc import Sequence

from pdanet_tf.base.fields import convert_field


def check_positive(name: str, value: int) -> int:
    """Returns an argument as an integer.

    Args:
        name: Name of the argument, for the message.
        value: The argument.

    Raises:
        ValueError: If it is not an integer, or below 1.
    """
    number: int = convert_field(name, value, int)
    if number < 1:
        raise ValueError(f"{name} must be at least 1. Received: {name}={number}")
    return number


def check_all_positive(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """Returns an argument as a tuple of integers.

    Args:
        name: Name of the argument, for the message.
        values: The argument.

    Raises:
        ValueError: If it is not a sequence of integers, is empty, or holds a number below 1.
    """
    numbers: tuple[int, ...] = convert_field(name, values, tuple[int, ...])
    if not numbers or min(numbers) < 1:
        raise ValueError(
            f"{name} must hold at least one number, and none below 1. Received: {name}={numbers}"
        )
    return numbers
