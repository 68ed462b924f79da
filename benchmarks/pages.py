"""Tables that the benchmarks print, and Markdown pages that they write."""

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of cells."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of cells in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page(title: str, *paragraphs: str) -> str:
    """Returns a page. Paragraphs are filled to 100 columns; tables and headings are unchanged."""
    return "\n\n".join([f"# {title}", *map(_fill, paragraphs)]) + "\n"


def _fill(paragraph: str) -> str:
    if paragraph.startswith(("|", "#")):
        return paragraph
    return textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)
