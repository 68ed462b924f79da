"""Export of models to other runtimes."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.exporting.run import export
    from pdanet_tf.exporting.saved_model import export_saved_model

__all__ = [
    "export",
    "export_saved_model",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "export": "pdanet_tf.exporting.run",
        "export_saved_model": "pdanet_tf.exporting.saved_model",
    },
)
