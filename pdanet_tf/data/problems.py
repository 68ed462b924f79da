"""What can be wrong with a data set, in words that say what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "warning", "note"]
_MOST_PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file, or with a whole split.

    Attributes:
        file: The file, or the split.
        kind: A few words, the same for all files that have this problem.
        text: What is wrong.
        advice: What to do about it, as a sentence.
        severity: "fatal" if training or scoring would fail, or go wrong unseen; "warning" if the
            result is likely to suffer; "note" if it is only worth knowing.
    """

    file: str
    kind: str
    text: str
    advice: str
    severity: Severity = "fatal"

    def __str__(self) -> str:
        return f"{self.file}: {self.text}. {self.advice}"


class DataError(ValueError):
    """Something is wrong with a user's files; the message names them and says what to do.

    Args:
        problem: What is wrong, or a message that says so.
    """

    def __init__(self, problem: Problem | str) -> None:
        super().__init__(problem)
        self._problem = problem

    def problem(self, file: str) -> Problem:
        """Returns what is wrong, of `file` if the message does not tell of which."""
        if isinstance(self._problem, Problem):
            return self._problem
        return Problem(file, "unusable", str(self), "Mend the file, or take it out")


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises a `DataError` that lists the first problems, if there are some."""
    lines = sorted(str(problem) for problem in problems)
    if lines:
        more = len(lines) - _MOST_PROBLEMS_SHOWN
        shown = lines[:_MOST_PROBLEMS_SHOWN] + ([f"... and {more} more"] if more > 0 else [])
        raise DataError("\n".join(shown))
