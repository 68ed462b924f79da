"""The first frame of a GIF, found in a graph.

TensorFlow decodes all frames of a GIF, which may take any amount of memory. It also reads
transparent pixels as black.
"""

from typing import NamedTuple

import tensorflow as tf

_EXTENSION, _IMAGE = 0x21, 0x2C  # the first bytes of blocks
_TRANSPARENCY = 0xF9  # the label of the extension that may declare a transparent colour
# 8 MB of blocks with 255 bytes each. A block takes 20 microseconds, however short it is.
_MAX_BLOCKS = 2**15
_TRUNCATED = "a truncated or damaged GIF file"


class Frame(NamedTuple):
    """The first frame of a GIF.

    Attributes:
        encoded: A GIF of this frame alone. Scalar string.
        height: Height of the image in pixels. Scalar int64.
        width: Width of the image in pixels. Scalar int64.
        error: Why the image is refused, empty if it is not. Scalar string.
    """

    encoded: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    error: tf.Tensor


def examine_gif(encoded: tf.Tensor) -> Frame:
    """Finds the first frame of a GIF.

    Source: GIF89a specification, sections 15 to 23.
    """
    # Positions behind the end read zeros, which end every loop.
    content = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    length = tf.size(content)
    content = tf.pad(content, [[0, 32]])

    def at(position: tf.Tensor) -> tf.Tensor:
        return content[tf.minimum(position, length)]

    def pair(position: tf.Tensor) -> tf.Tensor:
        return at(position) + 256 * at(position + 1)

    def table(flags: tf.Tensor) -> tf.Tensor:
        """Returns the length of a colour table."""
        has_table = tf.bitwise.bitwise_and(flags, 0x80) > 0
        entries = tf.bitwise.left_shift(2, tf.bitwise.bitwise_and(flags, 7))
        return tf.where(has_table, 3 * entries, 0)

    def skip_blocks(position: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the position behind a sequence of blocks, and the number of blocks so far."""
        position, count = tf.while_loop(
            lambda position, count: (at(position) > 0) & (count < _MAX_BLOCKS),
            lambda position, count: (position + 1 + at(position), count + 1),
            (position, count),
            parallel_iterations=1,
        )
        return position + 1, count + 1

    def skip_extension(
        position: tf.Tensor, count: tf.Tensor, transparent: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        declares = at(position + 1) == _TRANSPARENCY
        transparent |= declares & (tf.bitwise.bitwise_and(at(position + 3), 1) > 0)
        return *skip_blocks(position + 2, count), transparent

    start, count, transparent = tf.while_loop(
        lambda position, count, _: (at(position) == _EXTENSION) & (count < _MAX_BLOCKS),
        skip_extension,
        (13 + table(at(tf.constant(10))), tf.constant(0), tf.constant(False)),
        parallel_iterations=1,
    )
    end, count = skip_blocks(start + 11 + table(at(start + 9)), count)
    height, width = pair(tf.constant(8)), pair(tf.constant(6))
    is_whole = (at(start) == _IMAGE) & (end <= length)
    covers = (
        (pair(start + 1) == 0)
        & (pair(start + 3) == 0)
        & (pair(start + 5) == width)
        & (pair(start + 7) == height)
    )
    error = tf.case(
        [
            (count >= _MAX_BLOCKS, lambda: tf.constant("a GIF file of too many blocks")),
            (~is_whole, lambda: tf.constant(_TRUNCATED)),
            (
                transparent,
                lambda: tf.constant("a GIF with a transparent colour; convert it to RGB"),
            ),
            (
                ~covers,
                lambda: tf.constant("a GIF whose first frame covers a part; convert it to RGB"),
            ),
        ],
        default=lambda: tf.constant(""),
    )
    first = tf.strings.substr(encoded, 0, tf.minimum(end, length)) + b";"
    return Frame(first, tf.cast(height, tf.int64), tf.cast(width, tf.int64), error)
