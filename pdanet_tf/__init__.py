"""Scene segmentation in Keras 3: PDANet and the systems it is compared with.

Everything but training and export runs on every Keras backend, without TensorFlow. Keras is
imported when it is first needed.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

from pdanet_tf.lazy import lazy_attributes
from pdanet_tf.version import __version__

if TYPE_CHECKING:
    from pdanet_tf import convert, training
    from pdanet_tf.data import load_dataset
    from pdanet_tf.evaluation import evaluate
    from pdanet_tf.export import export_saved_model
    from pdanet_tf.inference import Prediction, Predictor, Protocol, predict
    from pdanet_tf.models import build_model, list_models
    from pdanet_tf.training.config import TrainConfig
    from pdanet_tf.training.train import train

__all__ = [
    "Prediction",
    "Predictor",
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

_find_function = lazy_attributes(
    __name__,
    {
        "Prediction": "pdanet_tf.inference",
        "Predictor": "pdanet_tf.inference",
        "Protocol": "pdanet_tf.inference",
        "TrainConfig": "pdanet_tf.training.config",
        "build_model": "pdanet_tf.models",
        "evaluate": "pdanet_tf.evaluation",
        "export_saved_model": "pdanet_tf.export",
        "list_models": "pdanet_tf.models",
        "load_dataset": "pdanet_tf.data",
        "predict": "pdanet_tf.inference",
        "train": "pdanet_tf.training.train",
    },
)


def __getattr__(name: str) -> Any:
    if name in ("convert", "training"):
        return import_module(f"{__name__}.{name}")
    return _find_function(name)


def __dir__() -> list[str]:
    return __all__


# Keras finds the classes that a `.keras` file names only once their modules are imported.
_SERIALIZABLE = (
    "pdanet_tf.layers",
    "pdanet_tf.losses",
    "pdanet_tf.metrics",
    "pdanet_tf.optimizers",
)
# These modules, and what they import: while one of them is being imported, the others wait.
_FOUNDATION = (*_SERIALIZABLE, "pdanet_tf.fused", "pdanet_tf.gradients")
_imported: set[str] = set()


def _register_classes(module: Any) -> None:
    """Imports the serializable classes as soon as Keras is imported, by whomever."""
    _imported.add(module.__name__)
    if _imported.issuperset(name for name in _FOUNDATION if name in sys.modules):
        for name in _SERIALIZABLE:
            import_module(name)


def _register_ade20k(_: Any) -> None:
    """Registers "ade20k" with TensorFlow Datasets as soon as that is imported."""
    import_module("pdanet_tf.data.ade20k_builder")


for _name in ("keras", *_FOUNDATION):
    wrapt.register_post_import_hook(_register_classes, _name)
wrapt.register_post_import_hook(_register_ade20k, "tensorflow_datasets")
