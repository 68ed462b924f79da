"""Evaluation of a model, or of stored predictions, on a data set."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.evaluation.assessing import assess, assess_predictions
    from pdanet_tf.evaluation.assessment import Assessment
    from pdanet_tf.evaluation.page import write_assessment
    from pdanet_tf.evaluation.report import Evaluation
    from pdanet_tf.evaluation.scoring import evaluate, evaluate_predictions, open_predictor

__all__ = [
    "Assessment",
    "Evaluation",
    "assess",
    "assess_predictions",
    "evaluate",
    "evaluate_predictions",
    "open_predictor",
    "write_assessment",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Assessment": "pdanet_tf.evaluation.assessment",
        "Evaluation": "pdanet_tf.evaluation.report",
        "assess": "pdanet_tf.evaluation.assessing",
        "assess_predictions": "pdanet_tf.evaluation.assessing",
        "evaluate": "pdanet_tf.evaluation.scoring",
        "evaluate_predictions": "pdanet_tf.evaluation.scoring",
        "open_predictor": "pdanet_tf.evaluation.scoring",
        "write_assessment": "pdanet_tf.evaluation.page",
    },
)
