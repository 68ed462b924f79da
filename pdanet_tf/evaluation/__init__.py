"""Evaluation of a model, or of stored predictions, on a data set."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.evaluation.report import Evaluation
    from pdanet_tf.evaluation.scoring import evaluate, evaluate_predictions

__all__ = [
    "Evaluation",
    "evaluate",
    "evaluate_predictions",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Evaluation": "pdanet_tf.evaluation.report",
        "evaluate": "pdanet_tf.evaluation.scoring",
        "evaluate_predictions": "pdanet_tf.evaluation.scoring",
    },
)
