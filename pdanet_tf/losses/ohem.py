"""Online hard example mining: the cross-entropy of the hardest pixels."""

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
class OHEM(SegmentationLoss):
    """Cross-entropy, averaged over the hardest of the labelled pixels.

    - `fraction`: the pixels with the highest cross-entropy, this share of the labelled ones,
      rounded to a whole number, but at least one.
    - `threshold`: the pixels whose softmax probability of their label is below this.
    - both: those below the threshold, but at least the share of the hardest ones.

    Pixels as hard as the last one that is kept are kept, too. If no pixel is kept, the loss is 0.
    `class_weights` weigh the mean over the kept pixels, as in `SegmentationCrossEntropy`; they do
    not change which are kept.

    With both, it is `OhemCrossEntropy(thresh=threshold, min_kept=share of the pixels)` of HRNet;
    `fraction` alone keeps the pixels that mmsegmentation's `OHEMPixelSampler(thresh=None)` keeps.
    Under a strategy each replica chooses among its own pixels; the mean is that over all replicas.

    Args:
        ignore_label: The label of unlabelled pixels, or several of them.
        fraction: Share of the labelled pixels, above 0 and at most 1. None is 0.25 without a
            `threshold`, and none with it.
        threshold: Probability, above 0 and at most 1; 0.7 in most works.
        class_weights: One weight of at least 0 per class; None weighs all classes equally.
        stride: See `pdanet_tf.losses.base.SegmentationLoss`.
        first: See `stride`.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Shapes:
        As for `SegmentationCrossEntropy`.

    Source:
        Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining,
        2016; Wu et al., Bridging Category-level and Instance-level Semantic Image Segmentation,
        2016, section 3.2, for pixels.
    """

    supports_sample_weight = False

    def __init__(
        self,
        ignore_label: int | Sequence[int] = 255,
        fraction: float | None = None,
        threshold: float | None = None,
        class_weights: Sequence[float] | None = None,
        stride: int | None = None,
        first: float = 0.0,
        name: str = "ohem",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, stride, first, name, **kwargs)
        self.fraction = convert_field("fraction", fraction, float | None)
        self.threshold = convert_field("threshold", threshold, float | None)
        for key, value in (("fraction", self.fraction), ("threshold", self.threshold)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{key} must be above 0 and at most 1. Received: {key}={value}")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the scaled loss of every pixel, `(batch, height, width)`."""
        logits = full_precision(y_pred)
        targets = self.targets(y_true, logits.shape[-1])
        losses, _ = negative_log_likelihood(logits, targets.classes, self.grid)
        kept = ops.cast(self._kept(ops.stop_gradient(losses), targets.labelled), losses.dtype)
        weights = self.weights_of(targets.classes, losses.dtype)
        weights = kept if weights is None else kept * weights
        return scale_to_mean(losses * weights, weights, targets)

    def _kept(self, losses: Tensor, labelled: Tensor) -> Tensor:
        """Returns which pixels are kept: the hardest, and those whose loss is not a number."""
        fraction = self.fraction
        if self.threshold is not None:
            hard = ~(ops.exp(-losses) >= self.threshold)
            if fraction is None:
                return hard & labelled
        else:
            fraction = fraction or 0.25
            hard = ops.isnan(losses)
        # Losses are at least 0: unlabelled pixels come last.
        ordered = ops.flip(ops.sort(ops.reshape(ops.where(labelled, losses, -1.0), (-1,))))
        valid = ops.cast(ops.sum(ops.cast(labelled, "int32")), losses.dtype)
        last = ops.maximum(ops.cast(ops.round(valid * fraction), "int32") - 1, 0)
        limit = ops.where(ops.arange(ops.size(ordered)) == last, ordered, 0)
        return (hard | (losses >= ops.sum(limit))) & labelled

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "fraction": self.fraction, "threshold": self.threshold}
