"""Tables that the benchmarks print, and Markdown pages that they write."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pdanet_tf.base import markdown
from pdanet_tf.base.markdown import fill
from pdanet_tf.files import write_atomically


def print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of cells."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of cells in Markdown."""
    return markdown.markdown_table(headings, rows, len(headings))


def page(title: str, *paragraphs: str) -> str:
    """Returns a page. Paragraphs are filled to 100 columns; tables and headings are unchanged."""
    return "\n\n".join([f"# {title}", *map(fill, paragraphs)]) + "\n"


def replace_section(file: Path, name: str, text: str) -> None:
    """Replaces the part of a page between the comments `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: If the page does not have both comments.
    """
    before, start, rest = file.read_text("utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not start or not end:
        raise ValueError(f"{file} must have the comments <!-- {name} --> and <!-- /{name} -->")
    write_atomically(file, f"{before}{start}\n{text}\n\n{end}{after}")
