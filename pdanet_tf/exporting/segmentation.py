"""Segmentation of a batch of images as one graph that other runtimes can run."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.models.inspection import logits_of
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import interpolation_matrix

# The scopes of all operations outside the network.
_PREPARE, _PLACE = OUTSIDE = ("prepare_images", "place_logits")


def build_segmentation(
    network: keras.Model, grid: CellGrid | None, protocol: Protocol, rounded: bool
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a function from images to label maps and confidences.

    It consists of matrix products, elementwise operations and the network, and has no loops.

    Args:
        network: The network from pixels to logits.
        grid: Where the cells of the logits lie in an image; None stretches them over it.
        protocol: The sizes to which images are resized, and whether they are also mirrored.
        rounded: Whether the values of resized images are whole numbers.

    Returns:
        A function that takes `(batch, height, width, channels)` of any dtype. It returns a dict of
        "labels", the most probable class, uint8, or uint16 for more than 256 classes; and
        "confidence", its probability times 255, uint8; both `(batch, height, width)`.
    """

    def segment(images: tf.Tensor) -> dict[str, tf.Tensor]:
        size = _sides(images)
        views = []
        for working_size in _working_sizes(size, protocol):
            with tf.name_scope(_PREPARE):
                resized = _resize(tf.cast(images, tf.float32), working_size, rounded)
                mirrored = resized[:, :, ::-1] if protocol.flip else None
            for view in (resized, mirrored):
                if view is None:
                    continue
                logits = tf.cast(logits_of(network(view, training=False)), tf.float32)
                with tf.name_scope(_PLACE):
                    placed = _place(logits, working_size, size, grid)
                    views.append(placed if view is resized else placed[:, :, ::-1])
        with tf.name_scope(_PLACE):
            return _decide(views)

    return segment


def _sides(images: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns height and width, as integers if they are known."""
    shape = tf.shape(images)
    return [shape[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2)]


def _working_sizes(size: list[int | tf.Tensor], protocol: Protocol) -> list[list[int | tf.Tensor]]:
    """Computes `Protocol.sizes`.

    If the size is known only at run time, the numbers are integers, because not every runtime has
    float64. A side that is a multiple of 8 plus 1 before it is rounded up may come out 8 pixels
    longer than `Protocol.sizes`, where float64 rounds it down.
    """
    if all(isinstance(side, int) for side in size):
        return [list(sides) for sides in protocol.sizes((size[0], size[1]))]
    with tf.name_scope(_PREPARE):
        shortest, longest = tf.minimum(*size), tf.maximum(*size)
        sizes = []
        for edge in protocol.short_edges or (shortest,):
            # The smaller one of edge / shortest and max_size / longest.
            by_short = edge * longest <= protocol.max_size * shortest
            factor = tf.where(by_short, edge, protocol.max_size)
            divisor = tf.where(by_short, shortest, longest)
            sizes.append([tf.maximum(8, (side * factor // divisor + 7) // 8 * 8) for side in size])
        return sizes


def _resize(images: tf.Tensor, size: list[int | tf.Tensor], rounded: bool) -> tf.Tensor:
    """Resizes images `(batch, height, width, channels)` as Pillow does: columns, then rows."""
    batch, channels = tf.shape(images)[0], images.shape[-1]
    height, width = _sides(images)
    if all(isinstance(side, int) for side in size) and [height, width] == list(size):
        return images
    across = _antialiased_matrix(width, size[1])
    resized = tf.matmul(across, images)
    resized = tf.floor(resized + 0.5) if rounded else resized
    resized = tf.reshape(resized, (batch, height, size[1] * channels))
    resized = tf.matmul(_antialiased_matrix(height, size[0]), resized)
    resized = tf.floor(resized + 0.5) if rounded else resized
    return tf.reshape(resized, (batch, *size, channels))


def _antialiased_matrix(length: int | tf.Tensor, new_length: int | tf.Tensor) -> tf.Tensor:
    """Returns the (new_length, length) matrix of Pillow's bilinear resizing.

    An output is the mean of the pixels around its centre, weighted by a triangle whose half width
    is one pixel, or one output if the image is made smaller.
    """
    outputs, pixels = tf.range(new_length), tf.range(length)
    distances = (2 * outputs[:, None] + 1) * length - (2 * pixels[None] + 1) * new_length
    reach = tf.cast(2 * tf.maximum(length, new_length), tf.float32)
    weights = tf.nn.relu(1 - tf.cast(tf.abs(distances), tf.float32) / reach)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _place(
    logits: tf.Tensor,
    working_size: list[int | tf.Tensor],
    size: list[int | tf.Tensor],
    grid: CellGrid | None,
) -> tf.Tensor:
    """Interpolates the logits of images resized to `working_size` at the pixels of `size`."""
    batch, classes = tf.shape(logits)[0], logits.shape[-1]
    rows, columns = _sides(logits)
    down = interpolation_matrix(rows, size[0], tf.float32, grid, working_size[0])
    across = interpolation_matrix(columns, size[1], tf.float32, grid, working_size[1])
    placed = tf.matmul(down, tf.reshape(logits, (batch, rows, columns * classes)))
    return tf.matmul(across, tf.reshape(placed, (batch, size[0], columns, classes)))


def _decide(views: list[tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the most probable class and its probability, from the logits of each view."""
    classes = views[0].shape[-1]
    if len(views) == 1:  # the class of the largest logit is the most probable one
        highest = tf.reduce_max(views[0], axis=-1, keepdims=True)
        labels = tf.argmax(views[0], axis=-1, output_type=tf.int32)
        confidence = 1 / tf.reduce_sum(tf.exp(views[0] - highest), axis=-1)
    else:
        mean = tf.add_n([tf.nn.softmax(view) for view in views]) / len(views)
        labels = tf.argmax(mean, axis=-1, output_type=tf.int32)
        confidence = tf.reduce_max(mean, axis=-1)
    return {
        "labels": tf.cast(labels, tf.uint8 if classes <= 256 else tf.uint16),
        "confidence": tf.cast(tf.floor(255 * confidence + 0.5), tf.uint8),
    }
