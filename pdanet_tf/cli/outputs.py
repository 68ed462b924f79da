"""Tables, JSON files and charts of commands. It imports neither Keras nor TensorFlow."""

import os
from pathlib import Path
from typing import Protocol

from PIL import Image
from rich.console import Console, RenderableType

from pdanet_tf.files import whole_file

_WIDTH_OF_FILES = 200  # characters per line of a table that is not shown on a terminal


class Report(Protocol):
    """Figures that can be shown and stored."""

    def table(self) -> RenderableType:
        """Returns a table for `rich.print`."""

    def save(self, path: str) -> None:
        """Writes the figures as JSON."""

    def chart(self) -> Image.Image:
        """Draws the figures."""


def check_outputs(json: str | None, chart: str | None, report: str | None = None) -> None:
    """Checks the paths of the files that a command writes at its end.

    Raises:
        ValueError: If one is a folder or has another format, or would replace a file of another
            kind.
    """
    if json is not None:
        path = Path(json)
        if path.is_dir() or (path.exists() and path.suffix.lower() != ".json"):
            raise ValueError(f"--json {json}: exists, and is not a .json file; choose another name")
    if report is not None and (Path(report).is_dir() or Path(report).suffix.lower() != ".html"):
        raise ValueError(f"--report {report}: expected an HTML file, such as report.html")
    if chart is not None:
        endings = Image.registered_extensions()
        if Path(chart).is_dir() or endings.get(Path(chart).suffix.lower()) not in Image.SAVE:
            raise ValueError(f"--chart {chart}: expected an image file, such as chart.png")


def check_writable(option: str, file: str) -> None:
    """Checks that a file can be written, before the time is spent to compute its content.

    Raises:
        OSError: If its folder cannot be made or written.
    """
    for folder in Path(file).absolute().parents:
        if folder.exists():
            if not folder.is_dir():
                raise NotADirectoryError(f"{option} {file}: {folder} is not a folder")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(f"{option} {file}: {folder} cannot be written")
            return


def open_console() -> Console:
    """Returns a console on which tables are not cut: files and pipes have no width."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_FILES)
    return console


def show(report: Report, json: str | None, chart: str | None) -> None:
    """Prints the table of a report, and writes its JSON file and its chart if they are given."""
    open_console().print(report.table())
    if json:
        report.save(json)
    if chart:
        with whole_file(Path(chart)) as temporary:
            report.chart().save(temporary)
