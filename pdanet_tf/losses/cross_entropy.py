"""Cross-entropy over the labelled pixels."""

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
class SegmentationCrossEntropy(SegmentationLoss):
    """Cross-entropy of logits, averaged over the labelled pixels.

    Logits of another size than the labels are resized bilinearly to it, image by image. The loss of
    a batch without a labelled pixel or without an image is 0. A label that is neither a class nor
    ignored makes the loss NaN: it is an error in the data and must not be mistaken for an
    unlabelled pixel.

    With `class_weights` w the loss is the weighted mean, sum(w[y] * loss) / sum(w[y]) over the
    labelled pixels with label y. With `label_smoothing` s, the target of a pixel is 1 - s for its
    class, plus s / num_classes for every class. Both are the definitions of
    `torch.nn.CrossEntropyLoss(weight, ignore_index, label_smoothing)`.

    `sample_weight` holds one weight per image or per pixel, see `match_weights`. The weighted
    losses are averaged over the number (or the class weights) of labelled pixels.
    `model.fit(class_weight=...)` does not support label maps; use `class_weights`.

    Args:
        ignore_label: The label of unlabelled pixels, which the loss ignores, or several of them.
        name: Name of the loss.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        label_smoothing: Share of the probability that is spread over all classes, from 0 to 1.
        stride: Distance between two cells of the logits, in pixels of the labels; None stretches
            the logits over the labels. See `pdanet_tf.losses.base.SegmentationLoss`.
        first: Centre of the first cell of the logits, in pixels of the labels.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: If an argument is out of range; when called, if there are not as many class
            weights as classes.

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
        self,
        ignore_label: int | Sequence[int] = 255,
        name: str = "segmentation_cross_entropy",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        stride: int | None = None,
        first: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, stride, first, name, **kwargs)
        self.label_smoothing = convert_field("label_smoothing", label_smoothing, float)
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(
                f"label_smoothing must be from 0 to 1. Received: label_smoothing={label_smoothing}"
            )

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the scaled loss of every pixel, `(batch, height, width)`."""
        logits = full_precision(y_pred)
        num_classes = logits.shape[-1]
        targets = self.targets(y_true, num_classes)
        all_classes = self.class_weights or (1.0,) * num_classes
        losses, total = negative_log_likelihood(
            logits, targets.classes, self.grid, all_classes if self.label_smoothing else None
        )
        weights = self.weights_of(targets.classes, losses.dtype)
        if weights is not None:
            losses = losses * weights
        if total is not None:
            share = self.label_smoothing / num_classes
            losses = losses * (1 - self.label_smoothing) + total * share
        counted = ops.cast(targets.labelled, losses.dtype)
        return scale_to_mean(losses, counted if weights is None else counted * weights, targets)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
