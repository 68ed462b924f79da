"""Lovasz-softmax (Berman et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.losses.averages import check_average, mean_over_classes
from pdanet_tf.losses.base import SegmentationLoss
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class LovaszSoftmax(SegmentationLoss):
    """Lovasz-softmax loss: a convex extension of 1 - IoU of each class.

    The errors of a class at all labelled pixels of the batch are sorted; see algorithm 1 of the
    paper. It sorts every class, so it takes long and much memory for many classes at the size of
    the labels: its logits are upsampled for the whole batch at once. Under a strategy each replica
    computes the loss of its own images, and what is minimised is the mean over the replicas,
    whatever their numbers of images.

    The loss has one value for all pixels, and therefore supports no `sample_weight`.

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        average: "present" for the mean over the classes that occur in the labels, as the authors
            recommend; "all" for the mean over all classes, in which a class that does not occur
            counts as 0.
        class_weights: Weights of the classes in that mean; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        Labels and logits as for `SegmentationCrossEntropy`; the loss is `(1,)` before reduction.

    Source:
        Berman et al., The Lovasz-Softmax Loss, 2018, equations 9 and 11, algorithm 1.
    """

    supports_sample_weight = False

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        average: str = "present",
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "lovasz",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, stride, first, name, **kwargs)
        self.average = check_average(average)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss, `(1,)`."""
        logits = full_precision(y_pred)
        num_classes = logits.shape[-1]
        targets = self.targets(y_true, num_classes)
        size = tuple(ops.shape(targets.classes)[1:3])
        probabilities = ops.softmax(bilinear_resize(logits, size, self.grid), axis=-1)
        by_class = ops.transpose(ops.reshape(probabilities, (-1, num_classes)))
        labels = ops.reshape(targets.classes, (1, -1))
        valid = ops.reshape(targets.labelled & ~targets.invalid, (1, -1))
        members = (labels == ops.arange(num_classes, dtype="int32")[:, None]) & valid
        # Unlabelled pixels have no error: they come last, where they do not change the loss.
        inside = ops.cast(members, logits.dtype)
        errors = ops.where(valid, ops.abs(inside - by_class), 0.0)
        order = ops.flip(ops.argsort(ops.stop_gradient(errors), axis=-1), axis=-1)
        steps = _steps(ops.take_along_axis(inside, order, axis=-1))
        losses = ops.sum(ops.take_along_axis(errors, order, axis=-1) * steps, axis=-1)
        present = ops.any(members, axis=-1)
        loss = mean_over_classes(losses, present, self.class_weights, self.average)
        return ops.where(ops.any(targets.invalid), float("nan"), loss)[None]

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "average": self.average}


def _steps(inside: Tensor) -> Tensor:
    """Returns how the Jaccard loss grows with every further pixel that is wrong.

    Args:
        inside: 1 for pixels of the class, 0 for others, in descending order of their errors,
            `(num_classes, pixels)`.
    """
    total = ops.sum(inside, axis=-1, keepdims=True)
    intersection = total - ops.cumsum(inside, axis=-1)
    union = total + ops.cumsum(1 - inside, axis=-1)
    losses = 1 - intersection / union
    return losses - ops.pad(losses[:, :-1], ((0, 0), (1, 0)))
