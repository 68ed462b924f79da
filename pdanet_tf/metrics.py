"""Scores of segmentation, all read off one confusion matrix."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.losses import match_labels, match_weights
from pdanet_tf.ops.precision import full_precision_dtype

AVERAGES = ("all", "present")
_EPSILON = 1e-10  # of the official score: intersection / (union + 1e-10)


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix; all are shares from 0 to 1.

    Attributes:
        mean_iou: The official score: the mean over all classes, an absent one counting as 0.
        mean_iou_present: The mean over the classes that occur in labels or predictions.
        pixel_accuracy: Correct pixels over labelled pixels.
        mean_accuracy: Mean over the labelled classes of their share of correct pixels.
        iou: Intersection over union of each class, `(num_classes,)`; 0 for an absent one.
        present: Whether each class occurs, `(num_classes,)`.
        pixels: Number of labelled pixels of each class, `(num_classes,)`.
    """

    mean_iou: float
    mean_iou_present: float
    pixel_accuracy: float
    mean_accuracy: float
    iou: np.ndarray
    present: np.ndarray
    pixels: np.ndarray

    @classmethod
    def from_confusion(cls, matrix: Any) -> "Scores":
        """Computes the scores of a matrix `(num_classes, num_classes)`: rows are labels."""
        matrix = np.asarray(matrix, "float64")
        correct, labelled, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
        union = labelled + predicted - correct
        iou = correct / (union + _EPSILON)
        present = union > 0
        recall = correct / np.maximum(labelled, 1)
        return cls(
            mean_iou=float(iou.mean()),
            mean_iou_present=float(iou.sum() / max(present.sum(), 1)),
            pixel_accuracy=float(correct.sum() / max(labelled.sum(), 1)),
            mean_accuracy=float(recall.sum() / max((labelled > 0).sum(), 1)),
            iou=iou,
            present=present,
            pixels=labelled.astype("int64"),
        )


class ConfusionMatrixMetric(keras.metrics.Metric):
    """A streaming metric over a confusion matrix of labels (rows) and predictions (columns).

    A label or prediction that is no class makes the result NaN: it must not pass unseen.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of pixels that do not count.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.

    Raises:
        ValueError: If `num_classes` is below 1.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if dtype is None:
            dtype = full_precision_dtype(keras.config.floatx())
        super().__init__(name=name, dtype=dtype)
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.matrix = self.add_variable(
            shape=(num_classes, num_classes),
            initializer="zeros",
            # Counts: float32 stops counting at 16.7 million. JAX has no int64 by default.
            dtype="int32" if keras.backend.backend() == "jax" else "int64",
            name="confusion_matrix",
        )
        self.strangers = self.add_variable(
            shape=(), initializer="zeros", dtype=self.matrix.dtype, name="strangers"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: Labels `(batch, height, width)` or `(batch, height, width, 1)`.
            y_pred: Logits or probabilities `(batch, any, any, num_classes)`, resized to the
                labels' size, or predicted classes of the shape of the labels, of integer dtype.
            sample_weight: Weights per image or per pixel, see `pdanet_tf.losses.match_weights`.
                Pixels of weight 0 do not count; all others count once.

        Raises:
            ValueError: If `sample_weight` has another shape.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if "int" in keras.backend.standardize_dtype(y_pred.dtype):
            labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            predictions = ops.cast(ops.reshape(y_pred, (-1,)), "int32")
        else:
            matched, logits = match_labels(y_true, y_pred)
            labels = ops.reshape(matched, (-1,))
            predictions = ops.cast(ops.reshape(ops.argmax(logits, axis=-1), (-1,)), "int32")
        valid = ops.not_equal(labels, self.ignore_label)
        if sample_weight is not None:
            weights = match_weights(sample_weight, y_true)
            valid = valid & ops.not_equal(ops.reshape(weights, (-1,)), 0)
        n = self.num_classes
        known = (labels >= 0) & (labels < n) & (predictions >= 0) & (predictions < n)
        cells = ops.where(known, labels * n + predictions, n * n)
        # Pixels without a label and numbers that are no class have cells of their own. Unlike
        # `bincount`, the sum over segments has a size that XLA knows.
        cells = ops.where(valid, cells, n * n + 1)
        counts = ops.segment_sum(ops.ones_like(cells), cells, num_segments=n * n + 2)
        counts = ops.cast(counts, self.matrix.dtype)
        self.matrix.assign_add(ops.reshape(counts[: n * n], (n, n)))
        self.strangers.assign_add(counts[n * n])

    def _counts(self) -> Any:
        """Returns the matrix in a dtype to compute scores in; half precision would overflow."""
        return ops.cast(self.matrix, full_precision_dtype(self.dtype))

    def _unless_strange(self, result: Any) -> Any:
        """Returns the result, or NaN if there were labels or predictions that are no class."""
        return ops.cast(ops.where(self.strangers > 0, float("nan"), result), self.dtype)

    def scores(self) -> Scores:
        """Returns all scores of what was counted so far.

        Raises:
            ValueError: If there were labels or predictions that are no class.
        """
        strangers = int(ops.convert_to_numpy(self.strangers))
        if strangers:
            raise ValueError(
                f"{strangers} pixels had labels or predictions that are neither a class below "
                f"num_classes={self.num_classes} nor ignore_label={self.ignore_label}"
            )
        return Scores.from_confusion(ops.convert_to_numpy(self.matrix))

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
        }


@keras.saving.register_keras_serializable(package="pdanet_tf")
class MeanIoU(ConfusionMatrixMetric):
    """Mean intersection over union.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of pixels that do not count.
        average: `"all"`: over all classes, an absent one counting as 0, as the official score of
            ADE20K has it; `"present"`: over the classes in labels or predictions.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.

    Raises:
        ValueError: If `num_classes` is below 1 or there is no such average.

    Example:
        ```python
        model.compile(optimizer, loss, metrics=[MeanIoU(150), PixelAccuracy(150)])
        ```
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        average: str = "all",
        name: str = "mean_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {AVERAGES}. Received: average={average!r}")
        self.average = average

    def result(self) -> Any:
        """Returns the mean; 0 if nothing was counted."""
        matrix = self._counts()
        correct = ops.diagonal(matrix)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - correct
        total = ops.sum(correct / (union + _EPSILON))
        if self.average == "all":
            return self._unless_strange(total / self.num_classes)
        present = ops.maximum(ops.sum(ops.cast(union > 0, matrix.dtype)), 1)
        return self._unless_strange(total / present)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "average": self.average}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PixelAccuracy(ConfusionMatrixMetric):
    """Correct pixels over labelled pixels; 0 if nothing was counted.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of pixels that do not count.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.

    Raises:
        ValueError: If `num_classes` is below 1.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        name: str = "pixel_accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)

    def result(self) -> Any:
        """Returns the share."""
        matrix = self._counts()
        share = ops.sum(ops.diagonal(matrix)) / ops.maximum(ops.sum(matrix), 1)
        return self._unless_strange(share)
