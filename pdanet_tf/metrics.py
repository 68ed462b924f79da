"""Scores of segmentation, all computed from one confusion matrix."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from pdanet_tf.base.types import Tensor
from pdanet_tf.losses.averages import check_average
from pdanet_tf.losses.base import as_label_map, match_weights
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.precision import full_precision_dtype
from pdanet_tf.ops.upsampled import most_likely_classes

_EPSILON = 1e-10  # the official score of ADE20K is intersection / (union + 1e-10)


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix, from 0 to 1.

    Attributes:
        mean_iou: The official score of ADE20K: the mean IoU over all classes. The IoU of a class
            that occurs neither in labels nor in predictions is 0.
        mean_iou_present: The mean IoU over the classes that occur in labels or predictions.
        pixel_accuracy: Number of correct pixels divided by the number of labelled pixels.
        mean_accuracy: Share of correct pixels of each class that occurs in labels, averaged over
            these classes.
        iou: Intersection over union of each class, `(num_classes,)`; 0 for an absent class.
        present: Whether each class occurs in labels or predictions, `(num_classes,)`.
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
    def from_confusion(cls, matrix: ArrayLike) -> "Scores":
        """Computes the scores of a confusion matrix.

        Args:
            matrix: Numbers of pixels, `(num_classes, num_classes)`: rows are labels, columns are
                predictions.
        """
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


def mean_iou_of_counts(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Returns the mean IoU over all classes, as `Scores.mean_iou`, of counts of pixels.

    Args:
        intersection: Pixels in the intersection of label and prediction, `(..., num_classes)`.
        union: Pixels in their union, `(..., num_classes)`.

    Returns:
        The mean, `(...)`, float64.
    """
    return np.mean(intersection / (union + _EPSILON), axis=-1)


class ConfusionMatrixMetric(keras.metrics.Metric):
    """A streaming metric over a confusion matrix of labels (rows) and predictions (columns).

    The result is NaN if a label or a prediction is not a class, so that the error is noticed.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of unlabelled pixels, which are not counted.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.
        stride: Distance between two cells of the logits, in pixels of the labels; None stretches
            the logits over the labels. See `pdanet_tf.losses.base.SegmentationLoss`.
        first: Centre of the first cell of the logits, in pixels of the labels.

    Raises:
        ValueError: If `num_classes` is below 1.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        name: str | None = None,
        dtype: str | None = None,
        stride: int | None = None,
        first: float = 0.0,
    ) -> None:
        if dtype is None:
            dtype = full_precision_dtype(keras.config.floatx())
        super().__init__(name=name, dtype=dtype)
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.stride = stride
        self.first = first
        self._grid = None if stride is None else CellGrid(stride, first)
        self.matrix = self.add_variable(
            shape=(num_classes, num_classes),
            initializer="zeros",
            # A float32 counter would stop at 16.7 million. JAX has no int64 by default.
            dtype="int32" if keras.backend.backend() == "jax" else "int64",
            name="confusion_matrix",
        )
        self.invalid_pixels = self.add_variable(
            shape=(), initializer="zeros", dtype=self.matrix.dtype, name="invalid_pixels"
        )

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: float | Tensor | None = None
    ) -> None:
        """Counts the pixels of a batch.

        Args:
            y_true: Labels `(batch, height, width)` or `(batch, height, width, 1)`.
            y_pred: Logits or probabilities `(batch, any, any, num_classes)`, which are resized to
                the size of the labels, or predicted classes of the shape of the labels, of integer
                dtype.
            sample_weight: Weights per image or per pixel, see `pdanet_tf.losses.match_weights`.
                Pixels of weight 0 are not counted; all others are counted once.

        Raises:
            ValueError: If `sample_weight` has another shape.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if "int" in keras.backend.standardize_dtype(y_pred.dtype):
            labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            predictions = ops.cast(ops.reshape(y_pred, (-1,)), "int32")
        else:
            matched = as_label_map(y_true)
            labels = ops.reshape(matched, (-1,))
            size = tuple(ops.shape(matched)[1:3])
            predictions = most_likely_classes(y_pred, size, self._grid)
            predictions = ops.reshape(predictions, (-1,))
        labelled = ops.not_equal(labels, self.ignore_label)
        if sample_weight is not None:
            weights = match_weights(sample_weight, y_true)
            labelled = labelled & ops.not_equal(ops.reshape(weights, (-1,)), 0)
        n = self.num_classes
        valid = (labels >= 0) & (labels < n) & (predictions >= 0) & (predictions < n)
        cells = ops.where(valid, labels * n + predictions, n * n)
        # Invalid and unlabelled pixels have cells of their own. Unlike `bincount`, `segment_sum`
        # has a static output size, which XLA requires.
        cells = ops.where(labelled, cells, n * n + 1)
        counts = ops.segment_sum(ops.ones_like(cells), cells, num_segments=n * n + 2)
        counts = ops.cast(counts, self.matrix.dtype)
        self.matrix.assign_add(ops.reshape(counts[: n * n], (n, n)))
        self.invalid_pixels.assign_add(counts[n * n])

    def _counts(self) -> Tensor:
        """Returns the matrix in at least float32, because half precision would overflow."""
        return ops.cast(self.matrix, full_precision_dtype(self.dtype))

    def _nan_if_invalid(self, result: Tensor) -> Tensor:
        """Returns the result, or NaN if a label or a prediction was not a class."""
        return ops.cast(ops.where(self.invalid_pixels > 0, float("nan"), result), self.dtype)

    def scores(self) -> Scores:
        """Returns all scores of the pixels counted so far.

        Raises:
            ValueError: If a label or a prediction was not a class.
        """
        invalid_pixels = int(ops.convert_to_numpy(self.invalid_pixels))
        if invalid_pixels:
            raise ValueError(
                f"{invalid_pixels} pixels had labels or predictions that are neither a class below "
                f"num_classes={self.num_classes} nor ignore_label={self.ignore_label}"
            )
        return Scores.from_confusion(ops.convert_to_numpy(self.matrix))

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
            "stride": self.stride,
            "first": self.first,
        }


@keras.saving.register_keras_serializable(package="pdanet_tf")
class MeanIoU(ConfusionMatrixMetric):
    """Mean intersection over union.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of unlabelled pixels, which are not counted.
        average: `"all"` for the mean over all classes, with an IoU of 0 for absent ones, as in the
            official score of ADE20K; `"present"` for the mean over the classes that occur in
            labels or predictions.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.
        stride: Distance between two cells of the logits, in pixels of the labels; None stretches
            the logits over the labels. See `pdanet_tf.losses.base.SegmentationLoss`.
        first: Centre of the first cell of the logits, in pixels of the labels.

    Raises:
        ValueError: If `num_classes` is below 1 or `average` is neither of these.

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
        dtype: str | None = None,
        stride: int | None = None,
        first: float = 0.0,
    ) -> None:
        super().__init__(num_classes, ignore_label, name, dtype, stride, first)
        self.average = check_average(average)

    def result(self) -> Tensor:
        """Returns the mean, or 0 if no pixel was counted."""
        matrix = self._counts()
        correct = ops.diagonal(matrix)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - correct
        total = ops.sum(correct / (union + _EPSILON))
        if self.average == "all":
            return self._nan_if_invalid(total / self.num_classes)
        present = ops.maximum(ops.sum(ops.cast(union > 0, matrix.dtype)), 1)
        return self._nan_if_invalid(total / present)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "average": self.average}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PixelAccuracy(ConfusionMatrixMetric):
    """Number of correct pixels divided by the number of labelled pixels.

    Args:
        num_classes: Number of classes.
        ignore_label: The label of unlabelled pixels, which are not counted.
        name: Name of the metric.
        dtype: Dtype of the result; at least float32 by default.
        stride: Distance between two cells of the logits, in pixels of the labels; None stretches
            the logits over the labels. See `pdanet_tf.losses.base.SegmentationLoss`.
        first: Centre of the first cell of the logits, in pixels of the labels.

    Raises:
        ValueError: If `num_classes` is below 1.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        name: str = "pixel_accuracy",
        dtype: str | None = None,
        stride: int | None = None,
        first: float = 0.0,
    ) -> None:
        super().__init__(num_classes, ignore_label, name, dtype, stride, first)

    def result(self) -> Tensor:
        """Returns the accuracy, or 0 if no pixel was counted."""
        matrix = self._counts()
        share = ops.sum(ops.diagonal(matrix)) / ops.maximum(ops.sum(matrix), 1)
        return self._nan_if_invalid(share)
