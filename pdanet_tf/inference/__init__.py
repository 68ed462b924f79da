"""Inference: from an image to probabilities, a label map, and an overlay."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.inference.crf import CRFParameters, dense_crf
    from pdanet_tf.inference.explanation import Explanation, explain
    from pdanet_tf.inference.kept_models import predict
    from pdanet_tf.inference.prediction import Prediction
    from pdanet_tf.inference.predictor import Predictor
    from pdanet_tf.inference.protocol import Protocol
    from pdanet_tf.inference.settings import InferenceSettings, load_model

__all__ = [
    "CRFParameters",
    "Explanation",
    "InferenceSettings",
    "Prediction",
    "Predictor",
    "Protocol",
    "dense_crf",
    "explain",
    "load_model",
    "predict",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "CRFParameters": "pdanet_tf.inference.crf",
        "Explanation": "pdanet_tf.inference.explanation",
        "InferenceSettings": "pdanet_tf.inference.settings",
        "Prediction": "pdanet_tf.inference.prediction",
        "Predictor": "pdanet_tf.inference.predictor",
        "Protocol": "pdanet_tf.inference.protocol",
        "dense_crf": "pdanet_tf.inference.crf",
        "explain": "pdanet_tf.inference.explanation",
        "load_model": "pdanet_tf.inference.settings",
        "predict": "pdanet_tf.inference.kept_models",
    },
)
