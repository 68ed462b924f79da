"""Progress: a bar on a terminal, a plain line in a log."""

import datetime
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.markup import escape

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


def track_long(
    text: str, items: Iterable[_Item], total: int, every: float = 60.0
) -> Iterator[_Item]:
    """Yields items, and shows on standard error how many are done, and the time left.

    A terminal gets a bar. A log gets a plain line from time to time, and nothing if the work is
    done before the first one. What is printed for an item goes where it went without the bar.

    Args:
        text: What is done with them, such as "Segmenting".
        items: The items.
        total: Number of items.
        every: Seconds from one line of a log to the next.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        # rich would send the standard output to the terminal, even if it is redirected to a file.
        with rich.progress.Progress(console=console, redirect_stdout=sys.stdout.isatty()) as bar:
            yield from bar.track(items, total, description=escape(text))  # of names of files
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= every:
            last = now
            print(f"{text}: {_describe(done, total, now - started)}", file=sys.stderr, flush=True)


def _describe(done: int, total: int, seconds: float) -> str:
    left = datetime.timedelta(seconds=round((total - done) * seconds / done))
    return f"{done:,} of {total:,}, {done / seconds:.3g} per second, {left} left"
