"""Files from the network, and the folder of the cache."""

import hashlib
import os
from pathlib import Path
from typing import Any

_ATTEMPTS = 3
_SHA256 = "sha256:"
_FULL_HASH = len(_SHA256) + 64


def keras_home() -> Path:
    """Returns the folder in which Keras keeps its files, as Keras chooses it."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"


def download(url: str, path: Path, known_hash: str | None = None, advice: str = "") -> Path:
    """Downloads a file, unless it exists already.

    A download that breaks off is started again, three attempts in all. The file gets its name only
    when it is complete and its hash is right.

    Args:
        url: Where the file lies.
        path: Where it is stored. If this file exists and has the hash, nothing is downloaded.
        known_hash: The algorithm and the hash in hexadecimal digits, as in `"sha256:d7dc..."`. Of a
            SHA-256, the first digits are enough. None if the hash is not known and not checked.
        advice: What the user can do if the file cannot be downloaded, for the message.

    Returns:
        `path`.

    Raises:
        OSError: If the file cannot be downloaded or stored.
        ValueError: If the downloaded file has another hash; it is not kept.
    """
    import pooch

    beginning = None
    if known_hash is not None and known_hash.startswith(_SHA256) and len(known_hash) < _FULL_HASH:
        beginning = known_hash.removeprefix(_SHA256)
        known_hash = None
        if path.is_file() and not _begins_with(path, beginning):
            path.unlink()
    cache = pooch.create(
        path.parent,
        base_url="",
        registry={path.name: known_hash},
        urls={path.name: url},
        retry_if_failed=_ATTEMPTS - 1,
    )
    http = pooch.HTTPDownloader(progressbar=True, chunk_size=2**20)

    def downloader(url: str, output_file: str, pooch: Any) -> None:
        http(url, output_file, pooch)
        if beginning is not None and not _begins_with(output_file, beginning):
            raise ValueError(f"its SHA-256 does not begin with {beginning}")

    try:
        return Path(cache.fetch(path.name, downloader=downloader))
    except ValueError as error:
        raise ValueError(
            f"{url}: not the file that was published, or incomplete: {error}"
        ) from error
    except OSError as error:
        # Errors of the disk have a number, except for one that pooch raises; those of the network
        # have none.
        if error.errno is not None or isinstance(error, PermissionError):
            reason = os.strerror(error.errno) if error.errno else str(error)
            stored = OSError(f"{url} cannot be stored as {path}: {reason}")
            stored.errno = error.errno
            raise stored from error
        raise OSError(f"{url} cannot be downloaded: {_reason(error)}. {advice}".strip()) from error


def _begins_with(path: str | Path, digits: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(digits)


def _reason(error: BaseException) -> str:
    """Returns what the server or the network answered, on one line and without the URL."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__
