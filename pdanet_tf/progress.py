"""Progress bars, where somebody can see them."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console

_Item = TypeVar("_Item")


def track(items: Iterable[_Item], text: str, total: int, show: bool = True) -> Iterator[_Item]:
    """Yields items, and shows a bar of them on standard error if that is a terminal.

    Args:
        items: The items.
        text: What stands before the bar.
        total: Number of items.
        show: With False there is no bar in any case.
    """
    console = Console(stderr=True)
    hidden = not (show and console.is_terminal)
    yield from rich.progress.track(items, text, total, console=console, disable=hidden)
