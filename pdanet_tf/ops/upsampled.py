"""What losses and metrics need of upsampled logits, computed one image at a time.

Logits at the size of the image take much memory: 8 images of 360 x 480 pixels and 150 classes take
790 MiB in float32, the log-softmax and the gradients as much again. The functions here upsample the
logits of one image, compute what is asked for, and drop them. The gradient upsamples them again.

The results equal those of `bilinear_resize` followed by the same function, to rounding. Under
PyTorch, and inside `plain_operations`, they are computed that way, for all images at once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.gradients import call_with_gradient
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.resize import bilinear_resize, interpolation_matrix


def negative_log_likelihood(
    logits: Tensor,
    classes: Tensor,
    grid: CellGrid | None = None,
    class_weights: tuple[float, ...] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Returns `-log(softmax(logits))` of the class of each pixel, after upsampling.

    Args:
        logits: `(batch, any, any, num_classes)`.
        classes: The class of each pixel, `(batch, height, width)`, int32.
        grid: Position of the logits in the image; None stretches them over it.
        class_weights: If given, the weighted sum of `-log(softmax(logits))` over all classes is
            returned, too.

    Returns:
        The value of each pixel, `(batch, height, width)`; and the weighted sum over all classes,
        of the same shape, or None.
    """
    values = _compute(_LIKELIHOOD, logits, classes, grid, class_weights)
    return values[..., 0], None if class_weights is None else values[..., 1]


def probability_sums(
    logits: Tensor, classes: Tensor, grid: CellGrid | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the sums over the pixels of each image of the softmax of upsampled logits.

    Args:
        logits: `(batch, any, any, num_classes)`.
        classes: The class of each pixel, `(batch, height, width)`, int32; pixels of other values
            are left out.
        grid: Position of the logits in the image; None stretches them over it.

    Returns:
        The sum of the probabilities of each class over all pixels, and over the pixels of that
        class, both `(batch, num_classes)`.
    """
    sums = _compute(_OVERLAP, logits, classes, grid, None)
    return sums[:, 0], sums[:, 1]


def most_likely_classes(
    logits: Tensor, size: tuple[int | Tensor, int | Tensor], grid: CellGrid | None = None
) -> Tensor:
    """Returns the class of the highest logit of each pixel, after upsampling.

    Args:
        logits: `(batch, any, any, num_classes)`.
        size: (height, width) of the result.
        grid: Position of the logits in the image; None stretches them over it.

    Returns:
        `(batch, *size)`, int32.
    """
    logits = full_precision(logits)

    def at_once() -> Tensor:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")

    if not _is_split():
        return ops.cast(ops.argmax(bilinear_resize(logits, size, grid), axis=-1), "int32")
    if grid not in (None, CellGrid()):
        return _most_likely(logits, size, grid)
    return _if_same_size(logits, size, at_once, lambda: _most_likely(logits, size, grid))


def _most_likely(
    logits: Tensor, size: tuple[int | Tensor, int | Tensor], grid: CellGrid | None
) -> Tensor:
    """Returns the class of the highest logit of each pixel, image by image."""
    resize = _Resize(logits, size, grid)

    def step(_: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        found = ops.cast(ops.argmax(resize(ops.take(logits, index, axis=0)), axis=-1), "int32")
        return found, found

    return ops.scan(step, ops.zeros(size, "int32"), ops.arange(ops.shape(logits)[0]))[1]


def _if_same_size(
    logits: Tensor,
    size: tuple[int | Tensor, int | Tensor],
    same: Callable[[], Tensor],
    other: Callable[[], Tensor],
) -> Tensor:
    """Returns `same()` if the logits have a size already, otherwise `other()`.

    Sizes that are known only at run time are compared then: batches of whole images differ in size,
    and their labels have the size of the logits.
    """
    sides = [*zip(ops.shape(logits)[1:3], size, strict=True)]
    if any(isinstance(one, int) and isinstance(each, int) and one != each for one, each in sides):
        return other()
    if all(isinstance(side, int) for pair in sides for side in pair):
        return same()
    (rows, height), (columns, width) = sides
    is_same = ops.logical_and(ops.equal(rows, height), ops.equal(columns, width))
    return ops.cond(is_same, same, other)


def _is_split() -> bool:
    """Returns whether images are processed one at a time."""
    return keras.backend.backend() in ("tensorflow", "jax") and not is_plain()


class _Statistic(NamedTuple):
    """A function of the logits and classes of pixels.

    Attributes:
        value: From logits `(batch, height, width, num_classes)`, classes `(batch, height, width)`
            and weights of the classes to the values of each image.
        gradient: From the same, and the gradient of the values, to the gradient of the logits.
        shape: From (height, width), the number of classes and the weights to the shape of the
            values of one image.
    """

    value: Callable[..., Tensor]
    gradient: Callable[..., Tensor]
    shape: Callable[..., tuple[Any, ...]]


def _compute(
    statistic: _Statistic,
    logits: Tensor,
    classes: Tensor,
    grid: CellGrid | None,
    class_weights: tuple[float, ...] | None,
) -> Tensor:
    """Returns a statistic of logits, which are upsampled if they do not have the labels' size."""

    def upsampled() -> Tensor:
        return _apply(statistic, logits, classes, grid, class_weights)

    def at_once() -> Tensor:
        return statistic.value(full_precision(logits), classes, class_weights)

    if grid not in (None, CellGrid()):
        return upsampled()
    return _if_same_size(logits, tuple(ops.shape(classes)[1:3]), at_once, upsampled)


def _apply(
    statistic: _Statistic,
    logits: Tensor,
    classes: Tensor,
    grid: CellGrid | None,
    class_weights: tuple[float, ...] | None,
) -> Tensor:
    """Returns a statistic of upsampled logits."""
    logits = full_precision(logits)
    if not _is_split():
        size = ops.shape(classes)[1:3]
        return statistic.value(bilinear_resize(logits, size, grid), classes, class_weights)
    # Classes are handed over as floats, because every argument has a gradient.
    floats = ops.cast(classes, logits.dtype)[..., None]
    options = {"statistic": statistic, "grid": grid, "class_weights": class_weights}
    values = call_with_gradient(_image_by_image, logits, floats, **options)
    shape = statistic.shape(ops.shape(classes)[1:3], logits.shape[-1], class_weights)
    return ops.reshape(values, (-1, *shape))


def _image_by_image(
    logits: Tensor,
    floats: Tensor,
    statistic: _Statistic,
    grid: CellGrid | None,
    class_weights: tuple[float, ...] | None,
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Computes a statistic image by image; returns the values and the gradient function."""
    classes = ops.cast(floats[..., 0], "int32")
    batch, height, width = ops.shape(classes)
    shape = statistic.shape((height, width), logits.shape[-1], class_weights)
    resize = _Resize(logits, (height, width), grid)

    def step(_: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        one = ops.take(classes, index, axis=0)[None]
        resized = resize(ops.take(logits, index, axis=0))[None]
        value = statistic.value(resized, one, class_weights)[0]
        return value, value

    # Under TensorFlow, the first and the following states have the shape of the results.
    _, values = ops.scan(step, ops.zeros(shape, logits.dtype), ops.arange(batch))

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        """Upsamples the logits of each image again."""

        def step(_: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            one = ops.take(classes, index, axis=0)[None]
            resized = resize(ops.take(logits, index, axis=0))[None]
            above = ops.take(upstream, index, axis=0)[None]
            change = resize.transposed(statistic.gradient(resized, one, class_weights, above)[0])
            return change, change

        _, changes = ops.scan(step, ops.zeros_like(logits[0]), ops.arange(batch))
        return changes, ops.zeros_like(floats)

    return values, gradient


class _Resize:
    """Resizes the logits of one image, `(rows, columns, channels)`, and transposes that.

    Args:
        logits: The logits of all images.
        size: (height, width) of the result.
        grid: Position of the logits in the image; None stretches them over it.
    """

    def __init__(
        self, logits: Tensor, size: tuple[int | Tensor, int | Tensor], grid: CellGrid | None
    ) -> None:
        _, self.rows, self.columns, self.channels = ops.shape(logits)
        self.size = size
        self.vertical = interpolation_matrix(self.rows, size[0], logits.dtype, grid)
        self.horizontal = interpolation_matrix(self.columns, size[1], logits.dtype, grid)

    def __call__(self, image: Tensor) -> Tensor:
        """Returns the resized logits, `(height, width, channels)`."""
        rows = ops.reshape(image, (self.rows, self.columns * self.channels))
        rows = ops.reshape(
            ops.matmul(self.vertical, rows), (self.size[0], self.columns, self.channels)
        )
        return ops.matmul(self.horizontal, rows)

    def transposed(self, change: Tensor) -> Tensor:
        """Returns the gradient of the image from that of the resized logits."""
        rows = ops.matmul(ops.transpose(self.horizontal), change)
        rows = ops.reshape(rows, (self.size[0], self.columns * self.channels))
        rows = ops.matmul(ops.transpose(self.vertical), rows)
        return ops.reshape(rows, (self.rows, self.columns, self.channels))


def _likelihood(logits: Tensor, classes: Tensor, class_weights: tuple[float, ...] | None) -> Tensor:
    log_probabilities = ops.log_softmax(logits, axis=-1)
    values = -ops.take_along_axis(log_probabilities, classes[..., None], axis=-1)
    if class_weights is None:
        return values
    weights = ops.convert_to_tensor(class_weights, logits.dtype)
    total = -ops.sum(log_probabilities * weights, axis=-1, keepdims=True)
    return ops.concatenate([values, total], axis=-1)


def _likelihood_gradient(
    logits: Tensor, classes: Tensor, class_weights: tuple[float, ...] | None, upstream: Tensor
) -> Tensor:
    probabilities = ops.softmax(logits, axis=-1)
    picked = ops.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
    gradient = (probabilities - picked) * upstream[..., :1]
    if class_weights is None:
        return gradient
    weights = ops.convert_to_tensor(class_weights, logits.dtype)
    return gradient + (probabilities * ops.sum(weights) - weights) * upstream[..., 1:]


def _likelihood_shape(
    size: tuple[Any, ...], _: int, class_weights: tuple[float, ...] | None
) -> tuple[Any, ...]:
    return (*size, 1 if class_weights is None else 2)


def _overlap(logits: Tensor, classes: Tensor, _: None) -> Tensor:
    num_classes = logits.shape[-1]
    probabilities = ops.softmax(logits, axis=-1)
    valid, own = _valid_and_own(classes, probabilities)
    total = ops.einsum("bhw,bhwk->bk", valid, probabilities)
    # Matrix products are faster than a scatter, and need no copy of the probabilities.
    picked = ops.one_hot(ops.maximum(classes, 0), num_classes, dtype=logits.dtype)
    return ops.stack([total, ops.einsum("bhw,bhwk->bk", own, picked)], axis=1)


def _overlap_gradient(logits: Tensor, classes: Tensor, _: None, upstream: Tensor) -> Tensor:
    probabilities = ops.softmax(logits, axis=-1)
    valid, own = _valid_and_own(classes, probabilities)
    total, inside = upstream[:, 0], upstream[:, 1]
    # The gradient of a softmax: all classes of a pixel share one term.
    weights = ops.take_along_axis(inside[:, None], ops.maximum(classes, 0), axis=-1)
    own = own * weights
    shared = ops.einsum("bk,bhwk->bhw", total, probabilities) * valid + own
    picked = ops.one_hot(ops.maximum(classes, 0), logits.shape[-1], dtype=logits.dtype)
    change = probabilities * (total[:, None, None] * valid[..., None] - shared[..., None])
    return change + picked * own[..., None]


def _valid_and_own(classes: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which pixels have a class, and its probability, 0 where there is none.

    Shapes:
        Both `(batch, height, width)`.
    """
    count = probabilities.shape[-1]
    valid = ops.cast((classes >= 0) & (classes < count), probabilities.dtype)
    places = ops.clip(classes, 0, count - 1)[..., None]
    return valid, ops.take_along_axis(probabilities, places, axis=-1)[..., 0] * valid


def _overlap_shape(_: tuple[Any, ...], num_classes: int, __: None) -> tuple[Any, ...]:
    return (2, num_classes)


_LIKELIHOOD = _Statistic(_likelihood, _likelihood_gradient, _likelihood_shape)
_OVERLAP = _Statistic(_overlap, _overlap_gradient, _overlap_shape)
