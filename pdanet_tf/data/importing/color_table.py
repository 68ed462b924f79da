"""Tables of colours and class names."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from pdanet_tf.data.palette import Color, parse_color
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.text_files import read_text

_TABLE_ADVICE = (
    "Write a CSV file with the columns name, red, green, blue; or lines such as '128 64 128 road'"
)
_RGB = r"\d{1,3}[ \t]*[, \t][ \t]*\d{1,3}[ \t]*[, \t][ \t]*\d{1,3}"


def read_color_table(file: Path) -> list[tuple[str, Color]]:
    """Reads a table of class names and colours. Several colours may belong to one class.

    Three forms are read: CSV with the columns `name`, `red`, `green` and `blue` (or `name` and
    `color`, such as #ff8000); lines of three numbers and a name, as CamVid's `label_colors.txt`;
    and CVAT's `labelmap.txt`, with lines such as `road:128,64,128::`. Lines that begin with # are
    comments, except below the header of a CSV file.

    Raises:
        DataError: If the file has another form, or gives one colour to two classes.
    """
    try:
        rows = list(_rows(read_text(file)))
    except DataError:
        raise
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
    every = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in every if not line.startswith("#")]
    if lines and "name" in lines[0].lower().split(","):
        header, *rows = every[every.index(lines[0]) :]  # in which # begins a colour
        for row in csv.DictReader([header.lower(), *rows]):
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
