"""Validation: finds what is wrong with one image, with a split and with a whole data set."""

from typing import TYPE_CHECKING

from pdanet_tf.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from pdanet_tf.data.validation.report import ValidationReport, validate_dataset

__all__ = ["ValidationReport", "validate_dataset"]

# Imported when used: data sets import parts of this package, and the report imports data sets.
__getattr__ = lazy_attributes(
    __name__,
    {
        "ValidationReport": "pdanet_tf.data.validation.report",
        "validate_dataset": "pdanet_tf.data.validation.report",
    },
)
