"""Formatting of messages."""


def quantity(count: int, singular: str, plural: str | None = None) -> str:
    """Returns a number with its noun, such as "1 epoch" or "1,000 epochs".

    Args:
        count: The number.
        singular: The noun for one.
        plural: The noun for any other number; by default the singular with "s" appended.
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
