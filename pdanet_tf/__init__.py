"""Scene segmentation in Keras 3: PDANet and the systems it is compared with.

Everything but training and export runs on every Keras backend, without TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pdanet_tf import convert, training
from pdanet_tf.data import load_dataset
from pdanet_tf.evaluation import evaluate
from pdanet_tf.inference import Protocol, predict
from pdanet_tf.models import build_model, list_models
from pdanet_tf.training import TrainConfig
from pdanet_tf.version import __version__

if TYPE_CHECKING:
    from pdanet_tf.export import export_saved_model
    from pdanet_tf.training import train

__all__ = [
    "Protocol",
    "TrainConfig",
    "__version__",
    "build_model",
    "convert",
    "evaluate",
    "export_saved_model",
    "list_models",
    "load_dataset",
    "predict",
    "train",
    "training",
]

# What needs TensorFlow is imported when it is used.
_NEEDS_TENSORFLOW = {"export_saved_model": "pdanet_tf.export", "train": "pdanet_tf.training"}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TENSORFLOW:
        return getattr(import_module(_NEEDS_TENSORFLOW[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
