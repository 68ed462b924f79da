"""The argument `ignore_label`: the values of annotation files that mark unlabelled pixels."""

from collections.abc import Sequence

from pdanet_tf.base.fields import convert_field


def ignored_values(ignore_label: int | Sequence[int] | None) -> tuple[int, ...]:
    """Returns the values that `ignore_label` names, in ascending order; () for None.

    Args:
        ignore_label: One value, or a tuple, list or array of several; None names none.

    Raises:
        ValueError: If a value is not an integer, is negative or occurs twice, or the sequence is
            empty.
    """
    converted = convert_field("ignore_label", ignore_label, int | tuple[int, ...] | None)
    if converted is None:
        return ()
    values = converted if isinstance(converted, tuple) else (converted,)
    received = f"Received: {spell_ignore_label(values)}"
    if not values:
        raise ValueError(f"ignore_label must be one value or several. {received}")
    if values[0] < 0:
        raise ValueError(f"ignore_label must be at least 0. {received}")
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(
            f"ignore_label must not repeat a value. More than once: "
            f"{', '.join(map(str, twice))}. {received}"
        )
    return values


def spell_ignore_label(values: tuple[int, ...]) -> str:
    """Returns the values as the argument that names them, for messages."""
    return f"ignore_label={values[0] if len(values) == 1 else values}"
