"""The loss of segmentation: cross-entropy over the labelled pixels."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.ops.precision import full_precision, full_precision_dtype
from pdanet_tf.ops.resize import bilinear_resize


def match_labels(labels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Resizes logits to the size of the labels and casts labels to int32.

    Args:
        labels: `(batch, height, width)` or `(batch, height, width, 1)`.
        logits: `(batch, any, any, num_classes)`; resized bilinearly to the size of the labels.

    Returns:
        Labels `(batch, height, width)`, int32, and logits of at least float32,
        `(batch, height, width, num_classes)`.
    """
    if len(labels.shape) == 4:
        labels = ops.squeeze(labels, axis=-1)
    labels = ops.cast(labels, "int32")
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


@keras.saving.register_keras_serializable(package="pdanet_tf")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits, averaged over the labelled pixels.

    Logits of another size than the labels are resized bilinearly to it. The loss of a batch without
    a labelled pixel or without an image is 0. A label that is neither a class nor `ignore_label`
    makes the loss NaN: it is an error in the data and must not be mistaken for an unlabelled pixel.

    `sample_weight` holds one weight per image or per pixel, see `match_weights`. The weighted
    losses are averaged over the number of labelled pixels. `model.fit(class_weight=...)` does not
    support label maps; use a weight per pixel instead, `sample_weight=weights[labels]`.

    Args:
        ignore_label: The label of unlabelled pixels, which the loss ignores.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        Labels `(batch, height, width)` or `(batch, height, width, 1)`; logits
        `(batch, any, any, num_classes)`; losses `(batch, height, width)`, scaled so that their
        mean over all pixels is the mean over the labelled ones.

    Example:
        ```python
        model.compile(optimizer, loss=SegmentationCrossEntropy(ignore_label=255))
        ```
    """

    def __init__(
        self, ignore_label: int = 255, name: str = "segmentation_cross_entropy", **kwargs: Any
    ) -> None:
        # Keras casts labels to this dtype, and half precision would round them.
        kwargs.setdefault("dtype", full_precision_dtype(keras.config.floatx()))
        super().__init__(name=name, **kwargs)
        self.ignore_label = ignore_label

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: float | Tensor | None = None
    ) -> Tensor:
        """Returns the mean loss.

        Raises:
            ValueError: If `match_weights` does not support the shape of `sample_weight`.
        """
        if sample_weight is not None:
            # Keras would broadcast weights along the last axis, the width.
            sample_weight = match_weights(sample_weight, ops.convert_to_tensor(y_true))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the scaled loss of every pixel, `(batch, height, width)`."""
        labels, logits = match_labels(y_true, y_pred)
        num_classes = logits.shape[-1]
        labelled = ops.not_equal(labels, self.ignore_label)
        invalid = labelled & ((labels < 0) | (labels >= num_classes))
        classes = ops.where(labelled & ~invalid, labels, 0)
        log_probabilities = ops.log_softmax(logits, axis=-1)
        losses = -ops.squeeze(
            ops.take_along_axis(log_probabilities, classes[..., None], axis=-1), axis=-1
        )
        losses = ops.where(invalid, float("nan"), losses)
        labelled_share = ops.mean(ops.cast(labelled, losses.dtype))
        scaled = losses / ops.maximum(labelled_share, keras.config.epsilon())
        return ops.where(labelled, scaled, 0.0)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        # Keras leaves out the dtype.
        return {**super().get_config(), "dtype": self.dtype, "ignore_label": self.ignore_label}
