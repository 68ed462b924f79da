"""Work on the images of a data set, of which each of several processes does a part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


def _same(values: np.ndarray) -> np.ndarray:
    return values


@dataclass(frozen=True)
class Part:
    """What one process does; by default everything.

    Attributes:
        select: Returns which images of a number of them are this process's.
        sum: Returns the sum of the values of all processes, an array of any shape, float64. All of
            them must call it.
    """

    select: Callable[[int], Sequence[int]] = range
    sum: Callable[[np.ndarray], np.ndarray] = _same

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether it is set in one of the processes. All must call it."""
        if self.sum is _same:
            return flags
        return tuple(bool(found) for found in self.sum(np.array(flags, "float64")))


WHOLE = Part()
