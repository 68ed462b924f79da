"""`classes.csv`: names and colours of the classes of a data set, or of an exported model."""

import csv
import io
import os
from pathlib import Path

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.files import one_line, read_json, write_atomically

CLASSES_FILE = "classes.csv"
_CHANNELS = ("red", "green", "blue")
_ADVICE = (
    "Expected the columns label, name, red, green and blue, with one class a line and labels that "
    "rise by 1"
)


def parse_class_table(text: str) -> tuple[Classes, int]:
    """Reads the content of `classes.csv`.

    The columns `label` and `red`, `green`, `blue` can be missing: labels then begin at 0, and the
    colours are bright.

    Returns:
        The classes, and the label of the first one.

    Raises:
        ValueError: If there is no column `name`, a value is missing or not a number, or the labels
            do not rise by 1.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or "name" not in rows[0]:
        raise ValueError("there is no column called name, or no class")
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a line has more or fewer values than the first line")
    classes = Classes.named([row["name"] for row in rows])
    if all(channel in rows[0] for channel in _CHANNELS):
        classes = classes.with_colors([[int(row[name]) for name in _CHANNELS] for row in rows])
    labels = [int(row.get("label", index)) for index, row in enumerate(rows)]
    if labels[0] < 0 or labels != list(range(labels[0], labels[0] + len(labels))):
        raise ValueError(f"the labels are {', '.join(map(str, labels[:10]))}")
    return classes, labels[0]


def read_class_table(file: Path) -> tuple[Classes, int]:
    """Reads `classes.csv`; see `parse_class_table`.

    Raises:
        DataError: If it cannot be read; the message names the file.
    """
    try:
        return parse_class_table(file.read_text("utf-8-sig"))
    except ValueError as error:
        text = f"cannot be read: {error}"
        raise DataError(Problem(str(file), "bad classes", text, _ADVICE)) from error


def read_classes(path: str | os.PathLike[str]) -> Classes:
    """Reads the classes of an exported model.

    Args:
        path: The `assets/classes.csv` of a SavedModel; or the `inference.json` beside a model of
            another format.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file; the message names it.
    """
    try:
        if Path(path).suffix.lower() == ".json":
            return Classes.from_entries(read_json(Path(path)).get("classes"))
        classes, first = parse_class_table(Path(path).read_text("utf-8-sig"))
        if first:
            raise ValueError(f"the labels must begin at 0, not at {first}")
        return classes
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: not the classes of an export: {one_line(error)}") from error


def write_class_table(file: Path, classes: Classes) -> None:
    """Writes `classes.csv`; see `format_class_table`."""
    write_atomically(file, format_class_table(classes))


def format_class_table(classes: Classes) -> str:
    """Returns `classes.csv`: the columns label, name, red, green and blue; labels from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("label", "name", *_CHANNELS))
    for label, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        writer.writerow((label, name, *color))
    return text.getvalue()
