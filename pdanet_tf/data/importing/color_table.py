"""Tables of colours and class names."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from pdanet_tf.data.palette import Color, parse_color
from pdanet_tf.data.problems import DataError, Problem

_TABLE_ADVICE = (
    "Write a CSV file with the columns name, red, green, blue; or lines such as '128 64 128 road'"
)
_RGB = r"\d{1,3}[ \t]*[, \t][ \t]*\d{1,3}[ \t]*[, \t][ \t]*\d{1,3}"


def read_color_table(file: Path) -> list[tuple[str, Color]]:
    """Reads a table of class names and colours. Several colours may belong to one class.

    Three forms are read: CSV with the columns `name`, `red`, `green` and `blue` (or `name` and
    `color`, such as #ff8000); lines of three numbers and a name, as CamVid's `label_colors.txt`;
    and CVAT's `labelmap.txt`, with lines such as `road:128,64,128::`.

    Raises:
        DataError: If the file has another form, or gives one colour to two classes.
    """
    try:
        text = file.read_text("utf-8-sig")
        rows = list(_rows(text))
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(file, f"cannot be read as a table of colours: {error}") from error
    if not rows:
        raise _bad(file, "contains no colour")
    names: dict[Color, str] = {}
    for name, color in rows:
        if names.setdefault(color, name) != name:
            shown = ", ".join(map(str, color))
            raise _bad(file, f"gives the colour {shown} to {names[color]!r} and to {name!r}")
    return rows


def _rows(text: str) -> Iterator[tuple[str, Color]]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and "name" in lines[0].lower().split(","):
        lines[0] = lines[0].lower()
        for row in csv.DictReader(lines):
            channels = row["color"] if "color" in row else _channels(row)
            yield row["name"].strip(), parse_color(channels)
        return
    for number, line in enumerate(lines, 1):
        if match := re.fullmatch(rf"({_RGB})[, \t]+(.+)", line):
            yield match[2].strip(), _color(match[1])
        elif match := re.match(rf"([^:]+):({_RGB}):", line):
            yield match[1].strip(), _color(match[2])
        else:
            raise ValueError(f"line {number} is {line!r}")


def _channels(row: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(row[channel]) for channel in ("red", "green", "blue"))


def _color(text: str) -> Color:
    return parse_color([int(part) for part in re.findall(r"\d+", text)])


def _bad(file: Path, text: str) -> DataError:
    return DataError(Problem(str(file), "bad table", text, _TABLE_ADVICE))
