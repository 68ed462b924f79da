"""Encoded images in a graph: what their headers say, and decoding that never raises."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from pdanet_tf.exporting.gif import examine_gif

_ACCEPTED = "expected the content of a JPEG, PNG, GIF or BMP file"
# A progressive JPEG visits every pixel in each scan. Encoders write about ten scans.
_MAX_SCANS = 100
_JPEG, _PNG, _GIF, _BMP = range(4)
_HEADER_LENGTH = 64  # in bytes


class Examined(NamedTuple):
    """What the header of an encoded image says; or of a batch, with one more axis.

    Attributes:
        encoded: The file; of a GIF its first frame. Scalar string.
        kind: Number of the format. Scalar int32.
        height: Height in pixels. Scalar int64.
        width: Width in pixels. Scalar int64.
        error: Why the image is refused, empty if it is not. Scalar string.
        fault: The error if decoding fails. Scalar string.
    """

    encoded: tf.Tensor
    kind: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    error: tf.Tensor
    fault: tf.Tensor


_SCALARS = Examined(
    encoded=tf.TensorSpec((), tf.string),
    kind=tf.TensorSpec((), tf.int32),
    height=tf.TensorSpec((), tf.int64),
    width=tf.TensorSpec((), tf.int64),
    error=tf.TensorSpec((), tf.string),
    fault=tf.TensorSpec((), tf.string),
)


def examine_images(encoded: tf.Tensor, max_pixels: int, max_side: int) -> Examined:
    """Examines the headers of encoded images. Nothing is decoded, and no image raises an error.

    Args:
        encoded: The contents of files, `(batch,)`, string.
        max_pixels: Images with more pixels are refused.
        max_side: Images with a longer side, in pixels, are refused.

    Returns:
        One value per image, `(batch,)`. The sizes of refused images are 0.
    """

    def examine(content: tf.Tensor) -> Examined:
        found = _examine(content)
        error = _check_size(found, max_pixels, max_side)
        is_fine = tf.cast(error == "", tf.int64)
        return found._replace(
            error=error, height=found.height * is_fine, width=found.width * is_fine
        )

    return tf.map_fn(examine, encoded, fn_output_signature=_SCALARS)


def decode_images(images: Examined, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes images of one size to the same pixels as `pdanet_tf.data.read_image`.

    Args:
        images: Images without an error, `(batch,)`.
        size: Their height and width, int32.

    Returns:
        `(batch, height, width, 3)`, uint8, RGB; and `(batch,)`, bool, whether an image could be
        decoded. Images that could not are black.
    """
    black = tf.zeros(tf.concat([size, [3]], axis=0), tf.uint8)

    def decode(image: Examined) -> tuple[tf.Tensor, tf.Tensor]:
        return _first_of(
            lambda: (_decode(image.encoded, image.kind, size), True), (black, tf.constant(False))
        )

    # Images are decoded at the same time, a few of them, because each takes memory of its own.
    return tf.map_fn(
        decode,
        images,
        fn_output_signature=(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.bool)),
        parallel_iterations=4,
    )


def _first_of(compute: Callable[[], Any], otherwise: Any) -> Any:
    """Returns the result of a function of the graph; or `otherwise`, if one of its ops raises.

    A graph has no `try`. A data set of one element does: it can leave out elements that raise.
    """
    one = tf.data.Dataset.from_tensors(0).map(lambda _: compute()).ignore_errors()
    return one.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()


def _check_size(found: Examined, max_pixels: int, max_side: int) -> tf.Tensor:
    """Returns the error of an image, one of which may be its size."""
    height, width = found.height, found.width
    size = tf.strings.format("{} x {} pixels (height x width): ", (height, width))
    side = tf.maximum(height, width)
    # The product of larger sides could exceed the range of integers.
    too_long = (side > max_side) | (tf.minimum(height, width) < 1)
    too_large = tf.minimum(height, 2**31) * tf.minimum(width, 2**31) > max_pixels
    return tf.case(
        [
            (found.error != "", lambda: found.error),
            (too_long, lambda: size + f"expected sides from 1 to {max_side}"),
            (too_large, lambda: size + f"expected at most {max_pixels} pixels; shrink the image"),
        ],
        default=lambda: tf.constant(""),
    )


def _examine(encoded: tf.Tensor) -> Examined:
    header = tf.io.decode_raw(
        tf.strings.substr(encoded, 0, _HEADER_LENGTH), tf.uint8, fixed_length=_HEADER_LENGTH
    )
    header = tf.cast(header, tf.int64)

    def has(text: bytes, position: int = 0) -> tf.Tensor:
        return tf.reduce_all(header[position : position + len(text)] == [*text])

    def refuse(error: str) -> Callable[[], Examined]:
        return lambda: _refused(encoded, error)

    return tf.case(
        [
            (has(b"\xff\xd8\xff"), lambda: _examine_jpeg(encoded)),
            (has(b"\x89PNG\r\n\x1a\n"), lambda: _examine_png(encoded, header)),
            (has(b"GIF87a") | has(b"GIF89a"), lambda: _examine_gif(encoded)),
            (has(b"BM"), lambda: _examine_bmp(encoded, header)),
            (tf.strings.length(encoded) == 0, refuse(f"the file is empty; {_ACCEPTED}")),
            (has(b"RIFF") & has(b"WEBP", 8), refuse(f"a WebP file; {_ACCEPTED}")),
            (has(b"II*\0") | has(b"MM\0*"), refuse(f"a TIFF file; {_ACCEPTED}")),
            (has(b"ftyp", 4), refuse(f"an AVIF, HEIC or video file; {_ACCEPTED}")),
        ],
        default=refuse(f"not an image; {_ACCEPTED}"),
    )


def _refused(encoded: tf.Tensor, error: str) -> Examined:
    zero = tf.constant(0, tf.int64)
    return Examined(encoded, tf.constant(0), zero, zero, tf.constant(error), tf.constant(""))


def _fault(encoded: tf.Tensor, name: str, end: bytes) -> tf.Tensor:
    """Returns the error if decoding fails: of a file without its end, that it is truncated."""
    start = tf.maximum(tf.strings.length(encoded) - len(end), 0)
    is_whole = tf.strings.substr(encoded, start, len(end)) == end
    return tf.where(is_whole, f"a damaged {name} file", f"a truncated or damaged {name} file")


def _number(header: tf.Tensor, start: int, length: int, big_endian: bool = False) -> tf.Tensor:
    """Returns an unsigned number in a header, int64."""
    powers = [256**index for index in range(length)]
    powers = powers[::-1] if big_endian else powers
    return tf.reduce_sum(header[start : start + length] * powers)


def _examine_jpeg(encoded: tf.Tensor) -> Examined:
    shape = _first_of(lambda: tf.image.extract_jpeg_shape(encoded, tf.int64), tf.zeros(3, tf.int64))
    content = tf.io.decode_raw(encoded, tf.uint8)
    # The header of a scan has its length, 6 bytes and two for each of its one to four components.
    begins = (content[:-4] == 0xFF) & (content[1:-3] == 0xDA) & (content[2:-2] == 0)
    has_components = (content[4:] >= 1) & (content[4:] <= 4)
    scans = tf.math.count_nonzero(begins & has_components & (content[3:-1] == 6 + 2 * content[4:]))
    fault = _fault(encoded, "JPEG", b"\xff\xd9")
    error = tf.case(
        [
            (shape[0] == 0, lambda: fault),
            (shape[2] > 3, lambda: tf.constant("a JPEG in CMYK; convert it to RGB")),
            (
                scans > _MAX_SCANS,
                lambda: tf.constant(f"a JPEG with more than {_MAX_SCANS} scans"),
            ),
        ],
        default=lambda: tf.constant(""),
    )
    return Examined(encoded, tf.constant(_JPEG), shape[0], shape[1], error, fault)


def _examine_png(encoded: tf.Tensor, header: tf.Tensor) -> Examined:
    has_header = tf.reduce_all(header[12:16] == [*b"IHDR"])
    fault = _fault(encoded, "PNG", b"IEND\xaeB`\x82")
    return Examined(
        encoded,
        tf.constant(_PNG),
        _number(header, 20, 4, big_endian=True),
        _number(header, 16, 4, big_endian=True),
        tf.where(has_header, "", fault),
        fault,
    )


def _examine_gif(encoded: tf.Tensor) -> Examined:
    frame = examine_gif(encoded)
    fault = tf.constant("a damaged GIF file")
    return Examined(frame.encoded, tf.constant(_GIF), frame.height, frame.width, frame.error, fault)


def _examine_bmp(encoded: tf.Tensor, header: tf.Tensor) -> Examined:
    depth, compression = _number(header, 28, 2), _number(header, 30, 4)
    height = tf.bitcast(tf.cast(_number(header, 22, 4), tf.uint32), tf.int32)
    height = tf.abs(tf.cast(height, tf.int64))  # a negative one stands for rows from the top
    advice = "expected 24 or 32 bits per pixel without compression; convert it to RGB"
    is_plain = ((depth == 24) | (depth == 32)) & (compression == 0) & (_number(header, 14, 4) >= 40)
    bits = tf.strings.format(
        "a BMP file of {} bits per pixel, compression {}; ", (depth, compression)
    )
    return Examined(
        encoded,
        tf.constant(_BMP),
        height,
        _number(header, 18, 4),
        tf.where(is_plain, "", bits + advice),
        tf.constant("a truncated or damaged BMP file"),
    )


def _decode(encoded: tf.Tensor, kind: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Decodes an image; raises an error if the file is damaged or has another size."""
    image = tf.switch_case(
        kind,
        [
            # The default method is faster, but up to 5 grey levels off the pixels of libjpeg.
            lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
            lambda: _decode_png(encoded),
            lambda: tf.io.decode_gif(encoded)[0],
            lambda: tf.io.decode_bmp(encoded)[..., :3],
        ],
    )
    same = tf.debugging.Assert(tf.reduce_all(tf.shape(image)[:2] == size), ["another size"])
    with tf.control_dependencies([same]):
        return tf.ensure_shape(tf.identity(image), (None, None, 3))


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    kind = tf.strings.substr(encoded, 24, 2)  # bits per channel, and type of colour

    def decode_deep_grey() -> tf.Tensor:
        grey = tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)
        grey = tf.cast(tf.cast(grey, tf.int32) // 257, tf.uint8)
        return tf.tile(grey, (1, 1, 3))

    # Grey values of 16 bits are divided by 257; other kinds keep their upper byte.
    is_deep_grey = kind == b"\x10\x00"
    return tf.cond(is_deep_grey, decode_deep_grey, lambda: tf.io.decode_png(encoded, channels=3))
