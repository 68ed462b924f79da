"""Tables and paragraphs in Markdown."""

import textwrap
from collections.abc import Sequence


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Returns a table in Markdown.

    Args:
        headings: Titles of the columns.
        rows: The cells, as Markdown.
        texts: Number of columns at the left that hold text; the others hold numbers.
    """
    rules = ["---" if index < texts else "---:" for index in range(len(headings))]
    lines = [headings, rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape_cell(text: str) -> str:
    """Returns plain text for a cell of a table: one line, without characters of the table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def fill(paragraph: str) -> str:
    """Fills a paragraph or a list to 100 columns; tables, headings, code and HTML are unchanged."""
    if paragraph.startswith(("|", "#", "```", "<", "---")):
        return paragraph
    if paragraph.startswith("- "):
        return "\n".join(_fill(line, "  ") for line in paragraph.split("\n"))
    return _fill(paragraph, "")


def _fill(text: str, indent: str) -> str:
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
