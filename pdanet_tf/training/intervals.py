"""How often a run saves its state within an epoch."""

import re
import time
from decimal import Decimal
from typing import NamedTuple

_MINUTES = re.compile(r"(\d+(?:\.\d+)?) ?min")


class Interval(NamedTuple):
    """The time between two checkpoints: a number of steps, or seconds, or neither.

    Attributes:
        steps: Number of steps.
        seconds: Seconds.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, value: int | str | None) -> "Interval":
        """Returns the interval that `TrainConfig.checkpoint_every` describes.

        Args:
            value: What `normalise` returns.
        """
        if isinstance(value, str):
            return cls(seconds=60 * float(value.removesuffix("min")))
        return cls(steps=value)


def normalise(value: int | str | None) -> int | str | None:
    """Returns one spelling of each interval: a number of steps, minutes as "10min", or None.

    Args:
        value: A number of steps, also as a string; minutes as "10min" or "0.5 min"; or None.

    Raises:
        ValueError: If it is none of these, or not above 0.

    Example:
        `normalise("500")` returns 500, `normalise("10 min")` returns "10min".
    """
    found = value
    if isinstance(value, str):
        minutes = _MINUTES.fullmatch(value.strip())
        if minutes:
            number = Decimal(minutes[1])
            # Without an exponent, which this function does not read.
            found = f"{number.normalize():f}min" if number > 0 else 0
        else:
            found = int(value) if value.strip().isdecimal() else 0
    if isinstance(found, int) and found < 1:
        raise ValueError(
            "checkpoint_every must be a number of steps, such as 500, or minutes, such as '10min', "
            f"above 0. Received: checkpoint_every={value!r}"
        )
    return found


class Due:
    """Tells when the next checkpoint is due.

    Args:
        interval: The time between two checkpoints. Steps are counted from the start of the run, so
            the checkpoints of a resumed run are after the same steps.
    """

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._saved = time.monotonic()

    def restart(self) -> None:
        """Starts the clock again; call it after every checkpoint."""
        self._saved = time.monotonic()

    def after(self, step: int) -> bool:
        """Returns whether a checkpoint is due.

        Args:
            step: Number of steps that are complete, from the start of the run.
        """
        steps, seconds = self._interval
        if steps is not None:
            return step % steps == 0
        return seconds is not None and time.monotonic() - self._saved >= seconds
