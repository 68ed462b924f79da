"""PNG files of any channels and bit depth, which Pillow cannot write."""

import struct
import zlib

import numpy as np

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey and alpha, RGB, RGBA


def chunk(name: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_file(header: bytes, *chunks: bytes) -> bytes:
    """Returns a PNG file of a header's content and further chunks, before the last."""
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encode_png(pixels: np.ndarray) -> bytes:
    """Returns a PNG of pixels `(height, width, channels)`, uint8 or uint16, 1 to 4 channels."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(f">u{pixels.itemsize}"))
    return png_file(header, chunk(b"IDAT", zlib.compress(rows)))
