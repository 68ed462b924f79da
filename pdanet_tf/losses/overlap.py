"""Losses of overlap: Tversky's index, and Dice and Jaccard, which are two of its cases."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Tensor
from pdanet_tf.losses.averages import check_average, mean_over_classes
from pdanet_tf.losses.base import SegmentationLoss
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.replicas import sum_over_replicas
from pdanet_tf.ops.upsampled import probability_sums

_EPSILON = 1e-7  # lowest denominator, as in segmentation_models.pytorch


class OverlapLoss(SegmentationLoss):
    """The base class of the losses of overlap.

    With the softmax probabilities, TP is the sum of the probabilities of a class over its own
    pixels, FP that over all other labelled pixels, and FN the number of its pixels minus TP. The
    loss of a class is 1 - (TP + smooth) / (TP + alpha * FP + beta * FN + smooth). TP, FP and FN are
    summed over all images of the batch, and under a strategy over all replicas.

    `average` says how the losses of the classes become one:

    - "present": their mean over the classes that occur in the labels of the batch, weighted with
      `class_weights`.
    - "all": the same mean over all classes, in which a class that does not occur counts as 0. This
      is what segmentation_models.pytorch computes; with rare classes the loss is then small.

    The loss has one value for all pixels, and therefore supports no `sample_weight`.
    """

    supports_sample_weight = False
    alpha: float
    beta: float

    def __init__(self, smooth: float, average: str, *arguments: Any, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.smooth = convert_field("smooth", smooth, float)
        if self.smooth < 0:
            raise ValueError(f"smooth must be at least 0. Received: smooth={smooth}")
        self.average = check_average(average)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss, `(1,)`."""
        logits = full_precision(y_pred)
        num_classes = logits.shape[-1]
        targets = self.targets(y_true, num_classes)
        classes = ops.where(targets.labelled & ~targets.invalid, targets.classes, -1)
        predicted, inside = probability_sums(logits, classes, self.grid)
        labels = ops.reshape(ops.where(classes < 0, num_classes, classes), (-1,))
        counts = ops.segment_sum(ops.ones_like(labels), labels, num_segments=num_classes + 1)
        errors = ops.sum(ops.cast(targets.invalid, logits.dtype))
        sums = [
            ops.sum(predicted, axis=0),
            ops.sum(inside, axis=0),
            ops.cast(counts[:num_classes], logits.dtype),
            ops.broadcast_to(errors, (num_classes,)),
        ]
        predicted, positive, labelled, errors = ops.unstack(sum_over_replicas(ops.stack(sums)), 4)
        false_positive, false_negative = predicted - positive, labelled - positive
        union = positive + self.alpha * false_positive + self.beta * false_negative + self.smooth
        losses = 1 - (positive + self.smooth) / ops.maximum(union, _EPSILON)
        loss = mean_over_classes(losses, labelled > 0, self.class_weights, self.average)
        # One value with an axis: Keras does not divide scalars by the number of replicas.
        return ops.where(errors[:1] > 0, float("nan"), loss)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "smooth": self.smooth, "average": self.average}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Tversky(OverlapLoss):
    """Tversky loss: 1 - TP / (TP + alpha * FP + beta * FN) of each class; see `OverlapLoss`.

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        alpha: Weight of false positives, at least 0.
        beta: Weight of false negatives, at least 0; the paper recommends 0.7 with an alpha of 0.3
            for small objects.
        smooth: Added to numerator and denominator, at least 0.
        average: "present" or "all"; see `OverlapLoss`.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        Labels and logits as for `SegmentationCrossEntropy`; the loss is `(1,)` before reduction.

    Source:
        Salehi et al., Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional
        Deep Networks, 2017, equation 3.
    """

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        alpha: float = 0.5,
        beta: float = 0.5,
        smooth: float = 0.0,
        average: str = "present",
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "tversky",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            smooth, average, ignore_label, class_weights, stride, first, name, **kwargs
        )
        self.alpha = convert_field("alpha", alpha, float)
        self.beta = convert_field("beta", beta, float)
        for key, value in (("alpha", self.alpha), ("beta", self.beta)):
            if value < 0:
                raise ValueError(f"{key} must be at least 0. Received: {key}={value}")

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Dice(OverlapLoss):
    """Dice loss: 1 - 2 TP / (2 TP + FP + FN) of each class; see `OverlapLoss`.

    The probabilities are not squared. (Milletari et al. square them in the denominator.)

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        smooth: Added to TP and to TP + (FP + FN) / 2, at least 0.
        average: "present" or "all"; see `OverlapLoss`.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        Labels and logits as for `SegmentationCrossEntropy`; the loss is `(1,)` before reduction.

    Source:
        Drozdzal et al., The Importance of Skip Connections in Biomedical Image Segmentation, 2016,
        equation 1.
    """

    alpha = beta = 0.5

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        smooth: float = 0.0,
        average: str = "present",
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            smooth, average, ignore_label, class_weights, stride, first, name, **kwargs
        )


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Jaccard(OverlapLoss):
    """Jaccard loss, the soft IoU: 1 - TP / (TP + FP + FN) of each class; see `OverlapLoss`.

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        smooth: Added to numerator and denominator, at least 0.
        average: "present" or "all"; see `OverlapLoss`.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        Labels and logits as for `SegmentationCrossEntropy`; the loss is `(1,)` before reduction.

    Source:
        Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image
        Segmentation, 2016, equations 3 to 5.
    """

    alpha = beta = 1.0

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        smooth: float = 0.0,
        average: str = "present",
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "jaccard",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            smooth, average, ignore_label, class_weights, stride, first, name, **kwargs
        )
