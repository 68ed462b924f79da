"""PNG files with a text chunk that identifies their source."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pdanet_tf.files import whole_file


def save_marked(image: Image.Image, path: Path, key: str, mark: str) -> None:
    """Writes a PNG file with a mark, whole or not at all.

    Args:
        image: The image.
        path: The file. An existing one is replaced.
        key: Key of the text chunk, in Latin-1, at most 79 characters.
        mark: The text, such as a hash in hexadecimal digits.

    Raises:
        OSError: If the file cannot be written.
    """
    # Colours take a quarter of the time of Pillow's own level, and a tenth more space.
    level = {"compress_level": 2} if image.mode == "RGB" else {}
    text = PngInfo()
    text.add_text(key, mark)
    with whole_file(path) as temporary:
        image.save(temporary, "PNG", pnginfo=text, **level)


def read_mark(path: Path, key: str) -> str | None:
    """Returns the mark of a file; None if it has no such mark, or is not a readable PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get(key)
    except Exception:  # Pillow raises errors of many kinds for files that are not images
        return None


def hash_pixels(image: Image.Image) -> str:
    """Returns a hash of the values of an image, the same before saving and after reading as PNG.

    Args:
        image: The image, with 8 or 16 bits per channel. Of a palette image the indices are hashed.
    """
    values = np.asarray(image)
    if values.dtype != "uint8":
        values = values.astype("uint16")  # some versions of Pillow read 16 bits as 32
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
