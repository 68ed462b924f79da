"""Reads text files of users; the error names the file."""

from pathlib import Path

from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import PathLike


def read_text(file: PathLike) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: If the file is not UTF-8.
        OSError: If the file cannot be read.
    """
    try:
        return Path(file).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"is not text in UTF-8: byte {error.start + 1} cannot be decoded"
        raise DataError(Problem(str(file), "not text", text, "Save it as UTF-8")) from error
