"""Scene segmentation in Keras 3: PDANet and the systems it is compared with."""

from pdanet_tf.models import build_model, list_models

__version__ = "0.1.0"
__all__ = ["build_model", "list_models"]
