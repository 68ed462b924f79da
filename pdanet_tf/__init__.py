"""Scene segmentation in Keras 3: PDANet and the models it is compared with.

Training runs on the TensorFlow and JAX backends of Keras, and reads its images with tf.data. Export
requires TensorFlow; everything else runs on every backend. Keras is imported on first use.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import wrapt

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.version import __version__

if TYPE_CHECKING:
    from pdanet_tf import convert, recipes, training
    from pdanet_tf.data.load import load_dataset
    from pdanet_tf.evaluation.scoring import evaluate
    from pdanet_tf.exporting.run import export
    from pdanet_tf.exporting.saved_model import export_saved_model
    from pdanet_tf.inference.kept_models import predict
    from pdanet_tf.inference.prediction import Prediction
    from pdanet_tf.inference.predictor import Predictor
    from pdanet_tf.inference.protocol import Protocol
    from pdanet_tf.models.build import build_model
    from pdanet_tf.models.registry import list_models, register_family
    from pdanet_tf.models.segmentation import segmentation_model
    from pdanet_tf.training.config import TrainConfig
    from pdanet_tf.training.run import train

__all__ = [
    "Prediction",
    "Predictor",
    "Protocol",
    "TrainConfig",
    "__version__",
    "build_model",
    "convert",
    "evaluate",
    "export",
    "export_saved_model",
    "list_models",
    "load_dataset",
    "predict",
    "recipes",
    "register_family",
    "segmentation_model",
    "train",
    "training",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Prediction": "pdanet_tf.inference.prediction",
        "Predictor": "pdanet_tf.inference.predictor",
        "Protocol": "pdanet_tf.inference.protocol",
        "TrainConfig": "pdanet_tf.training.config",
        "build_model": "pdanet_tf.models.build",
        "evaluate": "pdanet_tf.evaluation.scoring",
        "export": "pdanet_tf.exporting.run",
        "export_saved_model": "pdanet_tf.exporting.saved_model",
        "list_models": "pdanet_tf.models.registry",
        "load_dataset": "pdanet_tf.data.load",
        "predict": "pdanet_tf.inference.kept_models",
        "register_family": "pdanet_tf.models.registry",
        "segmentation_model": "pdanet_tf.models.segmentation",
        "train": "pdanet_tf.training.run",
    },
)


def __dir__() -> list[str]:
    modules = (module.name for module in iter_modules(__path__) if module.name != "base")
    return sorted({*__all__, *modules})


# Keras finds the classes of a `.keras` file only after their modules have been imported.
_SERIALIZABLE = (
    "pdanet_tf.layers",
    "pdanet_tf.losses",
    "pdanet_tf.metrics",
    "pdanet_tf.optimizers",
)
# The modules above and the modules that they import. While one of them is being imported, the
# others cannot be imported yet.
_FOUNDATION = (
    *_SERIALIZABLE,
    "pdanet_tf.ops.attention",
    "pdanet_tf.ops.batch_norm",
    "pdanet_tf.ops.convolution",
    "pdanet_tf.ops.gradients",
    "pdanet_tf.ops.precision",
    "pdanet_tf.ops.replicas",
    "pdanet_tf.ops.resize",
    "pdanet_tf.ops.upsampled",
    "pdanet_tf.ops.winograd",
)
_imported: set[str] = set()


def _register_classes(module: Any) -> None:
    """Imports the serializable classes as soon as any code has imported Keras."""
    _imported.add(module.__name__)
    if _imported.issuperset(name for name in _FOUNDATION if name in sys.modules):
        for name in _SERIALIZABLE:
            import_module(name)


def _register_ade20k(_: Any) -> None:
    """Registers "ade20k" with TensorFlow Datasets as soon as any code has imported it."""
    import_module("pdanet_tf.data.sources.ade20k_tfds")


for _name in ("keras", *_FOUNDATION):
    wrapt.register_post_import_hook(_register_classes, _name)
wrapt.register_post_import_hook(_register_ade20k, "tensorflow_datasets")
