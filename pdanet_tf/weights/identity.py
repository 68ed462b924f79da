"""What tells weights and models apart: the content of files, and the names of all others."""

import hashlib
import os

from pdanet_tf.weights.hub import local_file


def identify(source: str | None) -> str | None:
    """Returns a hash of a file, also of one on the Hub; any other name, and None, as they are.

    Args:
        source: A path, an address of the Hub, or the name of a checkpoint or an architecture.

    Raises:
        OSError: If the file cannot be read or fetched.
        ValueError: If the address of the Hub has another form.
    """
    if source is None or not os.path.isfile(path := local_file(source)):
        return source
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
