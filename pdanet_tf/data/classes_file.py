"""The files of an export that hold its classes."""

import csv
import os
from pathlib import Path

from pdanet_tf.data.classes import Classes
from pdanet_tf.files import one_line, read_json

_COLUMNS = ["label", "name", "red", "green", "blue"]


def read_classes(path: str | os.PathLike[str]) -> Classes:
    """Reads the classes of an exported model.

    Args:
        path: A CSV file in UTF-8 with the columns label (counted from 0), name, red, green and blue
            (0 to 255), such as `assets/classes.csv` in a SavedModel; or an `inference.json`, which
            is beside ONNX and OpenVINO files.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file; the message names it.
    """
    try:
        if Path(path).suffix.lower() == ".json":
            return Classes.from_entries(read_json(Path(path)).get("classes"))
        text = Path(path).read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(), strict=True))
        if not rows or [*rows[0]] != _COLUMNS:
            raise ValueError(f"the first line must be {','.join(_COLUMNS)}, and others must follow")
        if [int(row["label"]) for row in rows] != [*range(len(rows))]:
            raise ValueError("the labels must be 0, 1, 2 and so on")
        colors = [tuple(int(row[name]) for name in _COLUMNS[2:]) for row in rows]
        return Classes(tuple(row["name"] for row in rows), tuple(colors))  # type: ignore[arg-type]
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: not the classes of an export: {one_line(error)}") from error
