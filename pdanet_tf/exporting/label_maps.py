"""Label maps and probabilities of images of one size, computed in a graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import interpolation_matrix

VALUES_PER_STRIP = 2**20  # probabilities that are computed at once: 4 MiB
CONFIDENCE_SPEC = tf.TensorSpec((None, None, None), tf.uint8)


class Line(NamedTuple):
    """Linear interpolation along rows or columns: every output is a mean of two cells.

    oneDNN keeps what it compiled for the last 1024 shapes of matrices, which is 1 MB per request if
    images have any size. Nothing is compiled for this form, which is also faster.

    Attributes:
        first: One of the cells, `(outputs,)`, int32.
        second: The other one, `(outputs,)`, int32.
        weight: Weight of the first cell, 0 to 1, `(outputs,)`, float32.
    """

    first: tf.Tensor
    second: tf.Tensor
    weight: tf.Tensor

    @classmethod
    def of_matrix(cls, matrix: tf.Tensor) -> "Line":
        """Returns the same as a matrix of `interpolation_matrix`, `(outputs, cells)`."""
        first = tf.argmax(matrix > 0, axis=1, output_type=tf.int32)
        second = tf.minimum(first + 1, tf.shape(matrix)[1] - 1)
        return cls(first, second, tf.gather(matrix, first, batch_dims=1))

    def reversed(self) -> "Line":
        """Returns the outputs in reverse order."""
        return Line(*(each[::-1] for each in self))

    def part(self, outputs: tf.Tensor) -> "Line":
        """Returns some of the outputs."""
        return Line(*(tf.gather(each, outputs) for each in self))

    def interpolate(self, cells: tf.Tensor, axis: int) -> tf.Tensor:
        """Interpolates one axis of a tensor of rank 4."""
        weight = tf.reshape(self.weight, [-1] + [1] * (3 - axis))
        second = tf.gather(cells, self.second, axis=axis)
        return second + weight * (tf.gather(cells, self.first, axis=axis) - second)


class View(NamedTuple):
    """The logits of images at one size, and their interpolation.

    Attributes:
        logits: `(batch, rows, columns, num_classes)`.
        down: The interpolation of rows.
        across: The interpolation of columns.
    """

    logits: tf.Tensor
    down: Line
    across: Line


@dataclass(frozen=True)
class Segmenter:
    """A network and how images are presented to it.

    Attributes:
        compute_logits: From pixels `(batch, height, width, channels)`, float32, to logits, float32.
        grid: Where the cells of the logits lie in an image; None stretches them over it.
        protocol: The sizes to which images are resized, and whether they are also mirrored.
        rounded: Whether the values of resized images are whole numbers.
        num_classes: Number of classes.
    """

    compute_logits: Callable[[tf.Tensor], tf.Tensor]
    grid: CellGrid | None
    protocol: Protocol
    rounded: bool
    num_classes: int

    @property
    def labels_spec(self) -> tf.TensorSpec:
        """What `label` returns: uint8, or uint16 for more than 256 classes."""
        return tf.TensorSpec((None, None, None), "uint8" if self.num_classes <= 256 else "uint16")

    @property
    def probabilities_spec(self) -> tf.TensorSpec:
        """What `probabilities` returns."""
        return tf.TensorSpec((None, None, None, self.num_classes), tf.float32)

    def label(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the most probable class of every pixel.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            `(batch, height, width)`, uint8 or uint16.
        """
        views = self._views(images)

        def find_labels(logits: list[tf.Tensor]) -> tuple[tf.Tensor]:
            # With one view, the class of the largest logit is the most probable one.
            scores = logits[0] if len(logits) == 1 else _mean_probabilities(logits)
            return (self._largest(scores),)

        size = tf.shape(images)[1:3]
        (labels,) = compute_in_strips(views, size, find_labels, (self.labels_spec,))
        return labels

    def label_with_confidence(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `label` does, and the probability of that class, 0 to 255, uint8."""

        def find(logits: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = _mean_probabilities(logits)
            highest = tf.reduce_max(probabilities, axis=-1)
            confidence = tf.cast(tf.round(255.0 * tf.minimum(highest, 1.0)), tf.uint8)
            return self._largest(probabilities), confidence

        size, outputs = tf.shape(images)[1:3], (self.labels_spec, CONFIDENCE_SPEC)
        labels, confidence = compute_in_strips(self._views(images), size, find, outputs)
        return labels, confidence

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the probability of every class, `(batch, height, width, num_classes)`."""
        (probabilities,) = compute_in_strips(
            self._views(images),
            tf.shape(images)[1:3],
            lambda logits: (_mean_probabilities(logits),),
            (self.probabilities_spec,),
        )
        return probabilities

    def working_pixels(self, size: tf.Tensor) -> tf.Tensor:
        """Returns the pixels that the network takes at once for an image of `size`, int32."""
        sizes = working_sizes(size, self.protocol)
        pixels = tf.reduce_max([tf.reduce_prod(each) for each in sizes])
        return pixels * (1 + self.protocol.flip)

    def _largest(self, scores: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.argmax(scores, axis=-1, output_type=tf.int32), self.labels_spec.dtype)

    def _views(self, images: tf.Tensor) -> list[View]:
        """Returns the logits of images at each size of the protocol, and of their mirror images."""
        views = []
        batch, size = tf.shape(images)[0], tf.shape(images)[1:3]
        for working_size in working_sizes(size, self.protocol):
            resized = resize(images, working_size, self.rounded)
            if self.protocol.flip:
                resized = tf.concat([resized, resized[:, :, ::-1]], axis=0)
            logits = self.compute_logits(resized)
            view = place(logits[:batch], working_size, size, self.grid)
            views.append(view)
            if self.protocol.flip:
                # The first column of the image is the last one of its mirror image.
                views.append(View(logits[batch:], view.down, view.across.reversed()))
        return views


def place(
    logits: tf.Tensor, working_size: tf.Tensor, size: tf.Tensor, grid: CellGrid | None
) -> View:
    """Returns the logits of images resized to `working_size`, placed in images of `size`."""
    down, across = (
        Line.of_matrix(
            interpolation_matrix(tf.shape(logits)[1 + axis], size[axis], tf.float32, grid, length)
        )
        for axis, length in enumerate(tf.unstack(working_size))
    )
    return View(logits, down, across)


def compute_in_strips(
    views: list[View],
    size: tf.Tensor,
    compute: Callable[[list[tf.Tensor]], tuple[tf.Tensor, ...]],
    outputs: tuple[tf.TensorSpec, ...],
) -> tuple[tf.Tensor, ...]:
    """Applies a function to resized logits, one strip of rows after the other.

    Args:
        views: The logits of the images at each size.
        size: Height and width of the images.
        compute: A function from the resized logits of each view, `(batch, rows, width,
            num_classes)`, to tensors `(batch, rows, width, ...)`.
        outputs: The shapes and dtypes of these tensors.

    Returns:
        The tensors of the whole images, `(batch, height, width, ...)`.
    """
    height, width = size[0], size[1]
    values = tf.shape(views[0].logits)[0] * width * views[0].logits.shape[-1]
    step = tf.clip_by_value(VALUES_PER_STRIP // values, 1, height)

    def compute_strip(start: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # The last strip repeats its last row.
        rows = tf.minimum(start + tf.range(step), height - 1)
        return compute(
            [
                across.interpolate(down.part(rows).interpolate(logits, axis=1), axis=2)
                for logits, down, across in views
            ]
        )

    strips = tf.map_fn(
        compute_strip,
        tf.range(0, height, step),
        fn_output_signature=outputs,
        parallel_iterations=1,
    )
    return tuple(_join(each, height) for each in strips)


def _join(strips: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Joins strips `(strips, batch, rows, width, ...)` to images `(batch, height, width, ...)`."""
    count, batch, rows = tf.unstack(tf.shape(strips)[:3])
    order = [1, 0, *range(2, len(strips.shape))]
    shape = tf.concat([[batch, count * rows], tf.shape(strips)[3:]], axis=0)
    return tf.reshape(tf.transpose(strips, order), shape)[:, :height]


def _mean_probabilities(logits: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([_softmax(each) for each in logits]) / len(logits)


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    """Returns `tf.nn.softmax`, for which oneDNN would compile a kernel for every shape."""
    powers = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def resize(images: tf.Tensor, size: tf.Tensor, rounded: bool = True) -> tf.Tensor:
    """Resizes images as Pillow does: columns, then rows.

    Args:
        images: `(batch, height, width, channels)`, of any dtype.
        size: The new height and width.
        rounded: Whether to round the values to whole numbers.

    Returns:
        `(batch, *size, channels)`, float32.
    """

    def interpolate() -> tf.Tensor:
        resized = images
        for sides in ([tf.shape(images)[1], size[1]], size):
            resized = tf.image.resize(resized, sides, method="bilinear", antialias=True)
            resized = tf.floor(resized + 0.5) if rounded else resized
        return resized

    same = tf.reduce_all(tf.shape(images)[1:3] == size)
    return tf.cond(same, lambda: tf.cast(images, tf.float32), interpolate)


def working_sizes(size: tf.Tensor, protocol: Protocol) -> list[tf.Tensor]:
    """Computes `Protocol.sizes` in the graph."""
    precise = tf.cast(size, tf.float64)
    shortest, longest = tf.reduce_min(precise), tf.reduce_max(precise)
    sizes = []
    for edge in protocol.short_edges or (shortest,):
        scale = tf.minimum(tf.cast(edge, tf.float64) / shortest, protocol.max_size / longest)
        sides = tf.cast(precise * scale, tf.int32)
        sizes.append(tf.maximum(8, (sides + 7) // 8 * 8))
    return sizes
