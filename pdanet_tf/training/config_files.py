"""Configuration files: options as TOML or JSON."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdanet_tf.files import one_line, read_json


def read_options(path: Path) -> dict[str, Any]:
    """Reads the options in a `.toml` or `.json` file.

    Args:
        path: The file. Its extension decides on the format.

    Returns:
        The values by the names of the options, with lists for sequences.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        ValueError: If the extension is another one, or the file is not TOML, or not JSON with an
            object, in UTF-8. The message names the file, and the line of a syntax error.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file, such as {path}/config.json")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    extension = path.suffix.lower()
    if extension == ".json":
        return read_json(path)
    if extension != ".toml":
        raise ValueError(f"{path}: expected a configuration in a .toml or .json file")
    try:
        # Editors on Windows begin UTF-8 files with a byte order mark.
        text = path.read_bytes().decode("utf-8-sig")
        # After a last line that does not end, tomllib would say "at end of document" for its line.
        return tomllib.loads(f"{text}\n")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not TOML in UTF-8: {one_line(error)}") from error


def format_toml(options: Mapping[str, Any]) -> str:
    """Formats options as TOML, one a line. TOML has no null: options that are None are left out.

    Args:
        options: The values by the names of the options: strings, numbers, booleans, sequences of
            them, and mappings of names to them.
    """
    return "".join(
        f"{name} = {_format_value(value)}\n" for name, value in options.items() if value is not None
    )


def _format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = (f"{_format_value(key)} = {_format_value(part)}" for key, part in value.items())
        return f"{{ {', '.join(parts)} }}"
    # Strings, numbers, booleans and arrays are written alike in TOML and JSON, except for one
    # control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
