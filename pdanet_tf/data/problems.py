"""What can be wrong with a data set, in words that say what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "warning", "note"]
_FILES_SHOWN = 5


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

    Bytes of file names that are not UTF-8 are written as escapes, so that all can be printed.
    """

    file: str
    kind: str
    text: str
    advice: str
    severity: Severity = "fatal"

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", printable(self.file))
        object.__setattr__(self, "text", printable(self.text))

    def __str__(self) -> str:
        return f"{self.file}: {self.text}. {self.advice}"


class DataError(ValueError):
    """Something is wrong with a user's files; the message names them and says what to do.

    Args:
        problem: What is wrong, or a message that says so.
    """

    def __init__(self, problem: Problem | str) -> None:
        problem = printable(problem) if isinstance(problem, str) else problem
        super().__init__(problem)
        self._problem = problem

    def problem(self, file: str) -> Problem:
        """Returns what is wrong, of `file` if the message does not tell of which."""
        if isinstance(self._problem, Problem):
            return self._problem
        return Problem(file, "unusable", str(self), "Replace or remove the file")


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises a `DataError` that lists the fatal problems by kind, if there are some."""
    fatal = [problem for problem in problems if problem.severity == "fatal"]
    lines = []
    for group in group_problems(sorted(fatal, key=lambda problem: (problem.kind, problem.file))):
        if len(group) == 1:
            lines.append(str(group[0]))
        else:
            lines += [f"{group[0].kind} ({len(group)}):", *list_group(group)]
    if lines:
        raise DataError("\n".join(lines))


def group_problems(problems: Iterable[Problem]) -> list[list[Problem]]:
    """Returns the problems of one severity, kind and advice together, in order of their first."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        group = (problem.severity, problem.kind, problem.advice)
        groups.setdefault(group, []).append(problem)
    return list(groups.values())


def list_group(group: list[Problem]) -> list[str]:
    """Returns lines on the first problems of a group, and on what to do about all of it."""
    lines = [f"    {problem.file}: {problem.text}" for problem in group[:_FILES_SHOWN]]
    if len(group) > _FILES_SHOWN:
        lines.append(f"    ... and {len(group) - _FILES_SHOWN} more")
    return [*lines, f"  {group[0].advice}."]


def printable(text: str) -> str:
    """Returns a text with an escape for what cannot be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
