"""Problems of data sets, and the error that lists them: what is wrong, where, what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "warning", "note"]
_FILES_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """A problem of a file, or of a whole split.

    Attributes:
        file: The file, or the name of the split.
        kind: A few words, the same for all files that have this problem.
        text: What is wrong.
        advice: What to do about it, as a sentence without its full stop.
        severity: "fatal" if training or scoring would fail or silently give wrong results;
            "warning" if the result is likely to suffer; "note" if it is only worth knowing.

    Bytes of file names that are not UTF-8 are replaced by escapes, so that every problem can be
    printed.
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
    """A user's files have a problem; the message names the files and says what to do.

    Args:
        problem: The problem, or a message that describes it.
    """

    def __init__(self, problem: Problem | str) -> None:
        problem = printable(problem) if isinstance(problem, str) else problem
        super().__init__(problem)
        self._problem = problem

    def problem(self, file: str) -> Problem:
        """Returns the problem; `file` is used if the error was raised with a message alone."""
        if isinstance(self._problem, Problem):
            return self._problem
        return Problem(file, "unusable", str(self), "Replace or remove the file")


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises a `DataError` that lists the fatal problems by kind, if there are any."""
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
    """Groups problems of equal severity, kind and advice, in order of their first occurrence."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        group = (problem.severity, problem.kind, problem.advice)
        groups.setdefault(group, []).append(problem)
    return list(groups.values())


def list_group(group: list[Problem]) -> list[str]:
    """Returns one line for each of the first problems of a group, and a line with the advice."""
    lines = [f"    {problem.file}: {problem.text}" for problem in group[:_FILES_SHOWN]]
    if len(group) > _FILES_SHOWN:
        lines.append(f"    ... and {len(group) - _FILES_SHOWN} more")
    return [*lines, f"  {group[0].advice}."]


def printable(text: str) -> str:
    """Returns a text with escapes for the characters that cannot be encoded as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
