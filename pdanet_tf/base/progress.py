"""Progress: a bar on a terminal, a plain line in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console

_Item = TypeVar("_Item")


def track(items: Iterable[_Item], text: str, total: int, show: bool = True) -> Iterator[_Item]:
    """Yields items, and tells on standard error how many of them are done.

    Args:
        items: The items.
        text: What is done with them.
        total: Number of items.
        show: With False nothing is told.
    """
    console = Console(stderr=True)
    if show and not console.is_terminal:
        started = time.monotonic()
        yield from items
        print(f"{text}: {total} in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        return
    yield from rich.progress.track(items, text, total, console=console, disable=not show)
