"""Progress: a bar on a terminal, a plain line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console

_Item = TypeVar("_Item")


def track(
    items: Iterable[_Item], text: str, total: int, show: bool = True, leave: bool = True
) -> Iterator[_Item]:
    """Yields items, and shows on standard error how many of them are done.

    A terminal gets a bar. A log gets a plain line after the last item.

    Args:
        items: The items.
        text: What is done with them, such as "Reading".
        total: Number of items.
        show: With False nothing is written.
        leave: With False the bar is removed at the end, and a log gets no line.
    """
    console = Console(stderr=True)
    if show and leave and not console.is_terminal:
        started = time.monotonic()
        yield from items
        print(f"{text}: {total} in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        return
    disable = not (show and console.is_terminal)
    yield from rich.progress.track(
        items, text, total, console=console, disable=disable, transient=not leave
    )
