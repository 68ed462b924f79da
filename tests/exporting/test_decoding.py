"""Encoded images in the graph of an exported model."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pdanet_tf.data.readers import EncodedFile, read_image
from pdanet_tf.exporting.decoding import decode_images, examine_images
from pdanet_tf.exporting.gif import examine_gif
from tests.support.images import random_image
from tests.support.png import encode_png

LIMITS = {"max_pixels": 2**25, "max_side": 65_535}


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def examine():
    """A function from files to their errors and sizes."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def graph(files):
        return examine_images(files, **LIMITS)

    def call(*files):
        found = graph(tf.constant(files))
        errors = [error.decode() for error in found.error.numpy()]
        return errors, [
            *zip(found.height.numpy().tolist(), found.width.numpy().tolist(), strict=True)
        ]

    return call


@pytest.fixture(scope="module")
def decode():
    """A function from a file to its pixels, or to None."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def graph(file):
        found = examine_images(file[None], **LIMITS)
        size = tf.cast([found.height[0], found.width[0]], tf.int32)
        pixels, decoded = decode_images(found, size)
        return found.error[0], pixels[0], decoded[0]

    def call(file):
        error, pixels, decoded = graph(tf.constant(file))
        assert not error.numpy()
        return pixels.numpy() if decoded.numpy() else None

    return call


def smooth_image(height=60, width=80):
    return Image.fromarray(random_image(6, 8)).resize((width, height), Image.Resampling.BICUBIC)


def test_the_export_decodes_what_training_reads(decode):
    image = smooth_image()
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 4)).astype("uint16")
    for encoded in (
        encode(image, "JPEG", quality=80),
        encode(image, "JPEG", progressive=True, subsampling=0),
        encode(image.convert("L"), "JPEG"),
        *(encode(image.convert(mode), "PNG") for mode in ("RGB", "RGBA", "LA", "L", "P", "1")),
        *(encode_png(deep[..., :channels]) for channels in (1, 2, 3, 4)),
        *(encode(image.convert(mode), "BMP") for mode in ("RGB", "RGBA")),
        encode(image, "GIF"),
        encode(image.convert("L"), "GIF", interlace=1),
    ):
        expected = read_image(EncodedFile("image", encoded))
        np.testing.assert_array_equal(decode(encoded), expected)


def test_files_are_refused_by_name(examine, shared_cases):
    image = smooth_image()
    turned = image.transpose(Image.Transpose.ROTATE_90)
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.new("L", (40, 60), 0).resize((80, 60)))
    cases = {
        b"": "the file is empty; expected",
        b"BM": "a BMP file of 0 bits per pixel",
        b"\xff\xd8\xff": "a truncated or damaged JPEG file",
        b"\x89PNG\r\n\x1a\n": "a truncated or damaged PNG file",
        b"GIF89a": "a truncated or damaged GIF file",
        b"some text": "not an image; expected",
        encode(image, "WEBP"): "a WebP file; expected",
        encode(image, "TIFF"): "a TIFF file; expected",
        b"\0\0\0\x20ftypheic": "an AVIF, HEIC or video file",
        encode(image.convert("CMYK"), "JPEG"): "a JPEG in CMYK; convert",
        encode(image, "JPEG") + b"\xff\xda\0\x0c\3" * 100: "a JPEG with more than 100 scans",
        (shared_cases / "06_palette.bmp").read_bytes(): "a BMP file of 8 bits per pixel, compr",
        encode(transparent, "GIF"): "a GIF with a transparent colour",
        encode(image, "GIF")[:500]: "a truncated or damaged GIF file",
    }
    sound = [
        encode(image, "PNG"),
        encode(turned, "JPEG"),
        encode(image, "GIF"),
        encode(turned, "BMP"),
    ]
    errors, sizes = examine(*cases, *sound)
    for error, expected in zip(errors, cases.values(), strict=False):
        assert error.startswith(expected), (error, expected)
    assert errors[len(cases) :] == [""] * 4
    assert sizes == [(0, 0)] * len(cases) + [(60, 80), (80, 60)] * 2


def png_header(width, height):
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(content))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + check


def test_large_images_are_refused_before_they_are_decoded(examine):
    image = smooth_image()
    jpeg = encode(image, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg = jpeg[:at] + struct.pack(">HH", 30_000, 20_000) + jpeg[at + 4 :]
    gif = encode(image, "GIF")
    bmp = encode(image, "BMP")
    frame = gif.index(b"\x2c\0\0\0\0") + 5
    gif = bytearray(gif)
    gif[6:10] = gif[frame : frame + 4] = struct.pack("<HH", 20_000, 30_000)
    start = time.perf_counter()
    errors, _ = examine(
        png_header(20_000, 30_000),
        jpeg,
        bytes(gif),
        bmp[:18] + struct.pack("<ii", 20_000, -30_000) + bmp[26:],
    )
    assert time.perf_counter() - start < 5  # decoding would take minutes and gigabytes
    message = "30000 x 20000 pixels (height x width): expected at most 33554432 pixels; shrink"
    assert errors == [f"{message} the image"] * 4
    errors, _ = examine(png_header(2**31 - 1, 2**31 - 1), png_header(65_536, 1), png_header(0, 5))
    assert all("expected sides from 1 to 65535" in error for error in errors)


def test_damaged_data_raise_nothing(decode):
    image = smooth_image()
    for kind in ("JPEG", "PNG", "BMP"):
        assert decode(encode(image, kind)[:-600]) is None
    assert decode(png_header(80, 60)) is None


def test_of_a_gif_the_first_frame_is_decoded(decode):
    frames = [smooth_image(60 + n, 80).resize((80, 60)).convert("L") for n in range(3)]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    frame = examine_gif(tf.constant(animated))
    assert not frame.error.numpy()
    assert len(frame.encoded.numpy()) < len(animated)
    with Image.open(io.BytesIO(frame.encoded.numpy())) as only:
        assert only.n_frames == 1
    np.testing.assert_array_equal(decode(animated), read_image(EncodedFile("animated", animated)))
    rest = bytearray(animated)
    at = rest.index(b"\x2c\0\0\0\0")
    rest[at + 1] = 1  # the frame begins in the second column
    assert "covers a part" in examine_gif(tf.constant(bytes(rest))).error.numpy().decode()
