"""What all losses share: matching labels, logits and weights, and the mean over labelled pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.ranges import check_class_weights
from pdanet_tf.base.types import Tensor
from pdanet_tf.base.wording import quantity
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.precision import full_precision, full_precision_dtype
from pdanet_tf.ops.replicas import count_replicas, sum_over_replicas
from pdanet_tf.ops.resize import bilinear_resize


def as_label_map(labels: Tensor) -> Tensor:
    """Returns labels as `(batch, height, width)`, int32, without a last axis of size 1.

    Raises:
        ValueError: If the last axis of four has another size, as that of one-hot labels.
    """
    if len(labels.shape) == 4:
        if labels.shape[-1] != 1:
            raise ValueError(
                "Labels must be the numbers of the classes, (batch, height, width) or (batch, "
                "height, width, 1). For one-hot labels give labels.argmax(-1). Received: labels of "
                f"shape {tuple(labels.shape)}"
            )
        labels = ops.squeeze(labels, axis=-1)
    return ops.cast(labels, "int32")


def match_labels(labels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Resizes logits to the size of the labels and casts labels to int32.

    Args:
        labels: `(batch, height, width)` or `(batch, height, width, 1)`.
        logits: `(batch, any, any, num_classes)`; resized bilinearly to the size of the labels.

    Returns:
        Labels `(batch, height, width)`, int32, and logits of at least float32,
        `(batch, height, width, num_classes)`.
    """
    labels = as_label_map(labels)
    logits = full_precision(logits)
    return labels, bilinear_resize(logits, tuple(ops.shape(labels)[1:3]))


def match_weights(weights: float | Tensor, labels: Tensor) -> Tensor:
    """Returns the weight of every pixel.

    Args:
        weights: A number; one weight per image, `(batch,)`, `(batch, 1)` or `(batch, 1, 1)`; or
            one per pixel, `(batch, height, width)` or `(batch, height, width, 1)`.
        labels: `(batch, height, width)` or `(batch, height, width, 1)`.

    Returns:
        Weights `(batch, height, width)`, of at least float32.

    Raises:
        ValueError: If the weights have another shape.
    """
    weights = full_precision(ops.convert_to_tensor(weights))
    expected, sizes = tuple(labels.shape)[:3], tuple(ops.shape(labels))[:3]
    found = tuple(weights.shape)
    if len(found) == 4 and found[3] == 1:
        found = found[:3]
    # Sizes that are known only at run time are None here and match any size.
    agrees = [None in pair or pair[0] == pair[1] for pair in zip(found, expected, strict=False)]
    if len(found) == len(expected) and all(agrees):
        weights = ops.reshape(weights, tuple(ops.shape(weights))[: len(found)])
    elif len(expected) == 3 and found and agrees[0] and set(found[1:]) <= {1, None}:
        weights = ops.reshape(weights, (sizes[0], 1, 1))
    elif found:
        raise ValueError(
            "sample_weight must be a number, one weight per image (batch,), (batch, 1) or "
            "(batch, 1, 1), or one per pixel (batch, height, width) or (batch, height, width, 1). "
            f"Received: sample_weight of shape {tuple(weights.shape)} with labels of shape "
            f"{tuple(labels.shape)}"
        )
    return ops.broadcast_to(weights, sizes)


@dataclass(frozen=True)
class Targets:
    """The labels of a batch.

    Attributes:
        classes: `(batch, height, width)`, int32; 0 where there is no class.
        labelled: Whether a pixel has a label that is not ignored, `(batch, height, width)`.
        invalid: Whether it is labelled, but not with a class, `(batch, height, width)`.
    """

    classes: Tensor
    labelled: Tensor
    invalid: Tensor


class SegmentationLoss(keras.losses.Loss):
    """The base class of all losses: which pixels count, how much, and where the logits lie.

    Logits of another size than the labels are resized bilinearly. The loss of a batch without a
    labelled pixel or without an image is 0, and so is its gradient. A label that is neither a class
    nor ignored makes the loss NaN: it is an error in the data and must not be mistaken for an
    unlabelled pixel. All computations are in float32 at least.

    Under a `tf.distribute` strategy, sums and means are those of the whole batch, over all
    replicas, and not means of the replicas' means. The replicas may have different numbers of
    images, of one size.

    Args:
        ignore_label: The label of unlabelled pixels, which the loss ignores, or several of them.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: Distance between two cells of the logits, in pixels of the labels. None stretches
            the logits over the labels.
        first: Centre of the first cell of the logits, in pixels of the labels; see
            `pdanet_tf.ops.grid.CellGrid`. Models place their logits in the image in the same way.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: If an argument has the wrong type or is out of range.
    """

    supports_sample_weight = True

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras casts labels to this dtype, and half precision would round them.
        kwargs.setdefault("dtype", full_precision_dtype(keras.config.floatx()))
        super().__init__(name=name, **kwargs)
        self.ignore_label = convert_field("ignore_label", ignore_label, int | tuple[int, ...])
        hint = tuple[float, ...] | None
        self.class_weights = convert_field("class_weights", class_weights, hint)
        if self.class_weights is not None:
            check_class_weights(self.class_weights)
        self.stride = convert_field("stride", stride, int | None)
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride must be at least 1. Received: stride={stride}")
        self.first = convert_field("first", first, float)

    @property
    def grid(self) -> CellGrid | None:
        """Position of the logits in the label map; None if they are stretched over it."""
        return None if self.stride is None else CellGrid(self.stride, self.first)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: float | Tensor | None = None
    ) -> Tensor:
        """Returns the loss.

        Raises:
            ValueError: If `match_weights` does not support the shape of `sample_weight`, or the
                loss has no weights of pixels.
        """
        if sample_weight is not None:
            self.check_sample_weight()
            # Keras would broadcast weights along the last axis, the width.
            sample_weight = match_weights(sample_weight, ops.convert_to_tensor(y_true))
        return super().__call__(y_true, y_pred, sample_weight)

    def check_sample_weight(self) -> None:
        """Raises `ValueError` if the loss does not support `sample_weight`."""
        if not self.supports_sample_weight:
            raise ValueError(
                f"{type(self).__name__} supports no sample_weight, because it is not a mean over "
                "all pixels. Use class_weights, or another loss"
            )

    def targets(self, labels: Tensor, num_classes: int) -> Targets:
        """Splits labels into classes, ignored labels and errors.

        Args:
            labels: `(batch, height, width)` or `(batch, height, width, 1)`.
            num_classes: Number of classes.

        Raises:
            ValueError: If there are not as many class weights as classes.
        """
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(
                f"class_weights must have one weight per class, {num_classes}. Received: "
                f"{quantity(len(self.class_weights), 'weight')}"
            )
        labels = as_label_map(labels)
        several = isinstance(self.ignore_label, tuple)
        ignored = self.ignore_label if several else (self.ignore_label,)
        labelled = ops.not_equal(labels, ignored[0]) if ignored else ops.equal(labels, labels)
        for label in ignored[1:]:
            labelled = labelled & ops.not_equal(labels, label)
        invalid = labelled & ((labels < 0) | (labels >= num_classes))
        return Targets(ops.where(labelled & ~invalid, labels, 0), labelled, invalid)

    def weights_of(self, classes: Tensor, dtype: Any) -> Tensor | None:
        """Returns the class weight of each pixel, of the shape of `classes`; None without any."""
        if self.class_weights is None:
            return None
        return ops.take(ops.convert_to_tensor(self.class_weights, dtype), classes, axis=0)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "dtype": self.dtype,  # Keras leaves it out
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
            "stride": self.stride,
            "first": self.first,
        }


def scale_to_mean(losses: Tensor, weights: Tensor, targets: Targets) -> Tensor:
    """Scales the losses of pixels so that their mean over all pixels is their weighted mean.

    Args:
        losses: The loss of each pixel, already multiplied by its weight, `(batch, height, width)`.
        weights: The weight of each pixel, 0 for those that do not count, of the same shape.
        targets: The labels. Losses of unlabelled pixels become 0, those of errors NaN.

    Returns:
        `losses` divided by the mean of the weights over all replicas, `(batch, height, width)`.
        Keras takes the mean over the pixels of each replica and adds up the gradients of the means,
        in which the pixels of a small replica would count more. The gradient makes up for it.
    """
    losses = ops.where(targets.invalid, float("nan"), losses)
    pixels = ops.cast(ops.size(weights), losses.dtype)
    sums = ops.stack([ops.sum(ops.cast(weights, losses.dtype)), pixels])
    weight, all_pixels = ops.unstack(sum_over_replicas(sums), 2)
    all_pixels = ops.maximum(all_pixels, 1)
    mean = weight / all_pixels
    scaled = losses / ops.where(mean > 0, mean, 1.0)
    replicas = count_replicas()
    if replicas > 1:
        factor = pixels * replicas / all_pixels  # 1 if all replicas have equally many
        scaled += (factor - 1) * (scaled - ops.stop_gradient(scaled))
    return ops.where(targets.labelled, scaled, 0.0)
