"""The weighted sum of several losses."""

from collections.abc import Sequence
from typing import Any

import keras

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Tensor
from pdanet_tf.base.wording import quantity
from pdanet_tf.losses.base import SegmentationLoss, match_weights
from pdanet_tf.ops.precision import full_precision_dtype


@keras.saving.register_keras_serializable(package="pdanet_tf")
class WeightedSum(keras.losses.Loss):
    """The weighted sum of several losses of this package.

    It supports `sample_weight` if all of its losses do. Its own reduction and dtype apply; those of
    the losses do not.

    Args:
        losses: The losses.
        weights: The factor of each; None for 1.
        name: Name of the loss.
        **kwargs: Arguments of `keras.losses.Loss`.

    Raises:
        ValueError: If there is no loss, one is not from this package, or the number of weights is
            another.

    Shapes:
        Those of the losses.

    Example:
        ```python
        from pdanet_tf.losses import LovaszSoftmax, SegmentationCrossEntropy

        loss = WeightedSum([SegmentationCrossEntropy(), LovaszSoftmax()], [0.7, 0.3])
        ```
    """

    def __init__(
        self,
        losses: Sequence[SegmentationLoss | dict[str, Any]],
        weights: Sequence[float] | None = None,
        name: str = "weighted_sum",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", full_precision_dtype(keras.config.floatx()))
        super().__init__(name=name, **kwargs)
        # In a configuration the losses are serialised.
        self.losses = [
            keras.saving.deserialize_keras_object(each) if isinstance(each, dict) else each
            for each in losses
        ]
        wrong = [each for each in self.losses if not isinstance(each, SegmentationLoss)]
        if wrong or not self.losses:
            found = type(wrong[0]).__name__ if wrong else "no loss"
            raise ValueError(f"losses must be losses of pdanet_tf.losses. Received: {found}")
        given = [1.0] * len(self.losses) if weights is None else weights
        self.weights = list(convert_field("weights", given, tuple[float, ...]))
        if len(self.weights) != len(self.losses):
            raise ValueError(
                f"weights must have one factor per loss, {len(self.losses)}. Received: "
                f"{quantity(len(self.weights), 'factor')}"
            )

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: float | Tensor | None = None
    ) -> Tensor:
        """Returns the loss.

        Raises:
            ValueError: If `match_weights` does not support the shape of `sample_weight`, or one of
                the losses has no weights of pixels.
        """
        if sample_weight is not None:
            for loss in self.losses:
                loss.check_sample_weight()
            sample_weight = match_weights(sample_weight, keras.ops.convert_to_tensor(y_true))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the weighted sum before reduction: `(1,)`, or `(batch, height, width)`."""
        values = [
            loss.call(y_true, y_pred) * weight
            for loss, weight in zip(self.losses, self.weights, strict=True)
        ]
        return sum(values[1:], values[0])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "dtype": self.dtype,  # Keras leaves it out
            "losses": [keras.saving.serialize_keras_object(loss) for loss in self.losses],
            "weights": self.weights,
        }
