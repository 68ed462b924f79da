"""The loss of segmentation: cross-entropy over the pixels that count."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.layers import bilinear_resize
from pdanet_tf.layers.precision import full_precision


def match_labels(labels: Any, logits: Any) -> tuple[Any, Any]:
    """Brings labels and logits to one size and labels to int32.

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


@keras.saving.register_keras_serializable(package="pdanet_tf")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits, averaged over the pixels with a label.

    Logits of another size than the labels are resized bilinearly to it. A batch without a
    labelled pixel has a loss of 0. A label that is neither a class nor `ignore_label` makes the
    loss NaN: it is a mistake in the data, and must not pass for an unlabelled pixel.

    Args:
        ignore_label: The label of pixels that do not count.
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
        super().__init__(name=name, **kwargs)
        self.ignore_label = ignore_label

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the scaled loss of every pixel."""
        labels, logits = match_labels(y_true, y_pred)
        num_classes = logits.shape[-1]
        valid = ops.not_equal(labels, self.ignore_label)
        wrong = valid & ((labels < 0) | (labels >= num_classes))
        classes = ops.where(valid & ~wrong, labels, 0)
        log_probabilities = ops.log_softmax(logits, axis=-1)
        losses = -ops.squeeze(
            ops.take_along_axis(log_probabilities, classes[..., None], axis=-1), axis=-1
        )
        losses = ops.where(wrong, float("nan"), losses)
        valid_share = ops.mean(ops.cast(valid, losses.dtype))
        return ops.where(valid, losses / ops.maximum(valid_share, keras.config.epsilon()), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "ignore_label": self.ignore_label}
