"""Focal loss (Lin et al. 2017)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Tensor
from pdanet_tf.losses.base import SegmentationLoss, scale_to_mean
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.upsampled import negative_log_likelihood


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Focal(SegmentationLoss):
    """Focal loss: cross-entropy in which pixels that are already right count less.

    The loss of a pixel is -(1 - p)^gamma * log(p), where p is the softmax probability of its label.
    The losses are averaged over the labelled pixels; `class_weights` (the paper's alpha) weigh this
    mean as in `SegmentationCrossEntropy`. With `gamma=0` it is the cross-entropy.

    This is the softmax form of the loss, `softmax_focal_loss_with_logits` in
    segmentation_models.pytorch. Its `FocalLoss(mode="multiclass")` is another function: the mean
    over classes of binary losses, with a sigmoid for each class.

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        gamma: How strongly right pixels are discounted, at least 0; 2 in the paper.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        As for `SegmentationCrossEntropy`.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, 2017, equation 4.
    """

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "focal",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, stride, first, name, **kwargs)
        self.gamma = convert_field("gamma", gamma, float)
        if self.gamma < 0:
            raise ValueError(f"gamma must be at least 0. Received: gamma={gamma}")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the scaled loss of every pixel, `(batch, height, width)`."""
        logits = full_precision(y_pred)
        targets = self.targets(y_true, logits.shape[-1])
        losses, _ = negative_log_likelihood(logits, targets.classes, self.grid)
        if self.gamma:
            # 1 - p. The gradient of a power below 1 is infinite at 0.
            rest = ops.maximum(-ops.expm1(-losses), keras.config.epsilon())
            losses = losses * rest**self.gamma
        weights = self.weights_of(targets.classes, losses.dtype)
        counted = ops.cast(targets.labelled, losses.dtype)
        if weights is None:
            return scale_to_mean(losses, counted, targets)
        return scale_to_mean(losses * weights, counted * weights, targets)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "gamma": self.gamma}
