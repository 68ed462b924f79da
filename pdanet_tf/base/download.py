"""Files from the network, and the folder of the cache."""

import os
from pathlib import Path

_ATTEMPTS = 3


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
        known_hash: The algorithm and the hash in hexadecimal digits, as in `"sha256:d7dc..."`; None
            if the hash is not known and not checked.
        advice: What the user can do if the file cannot be downloaded, for the message.

    Returns:
        `path`.

    Raises:
        OSError: If the file cannot be downloaded or stored.
        ValueError: If the downloaded file has another hash; it is not kept.
    """
    import pooch

    cache = pooch.create(
        path.parent,
        base_url="",
        registry={path.name: known_hash},
        urls={path.name: url},
        retry_if_failed=_ATTEMPTS - 1,
    )
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**20)
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


def _reason(error: BaseException) -> str:
    """Returns what the server or the network answered, on one line and without the URL."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__
