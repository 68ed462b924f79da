"""Trained models that come with the package, in half precision.

Each has a folder with the model, its `inference.json`, and a card that says how it was made and
what it scores.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "trained"


@dataclass(frozen=True)
class ShippedModel:
    """A trained model in the package.

    Attributes:
        model: Name of the model.
        num_classes: Number of classes.
        file: The `.keras` file.
        sha256: Its hash in hexadecimal digits.
    """

    model: str
    num_classes: int
    file: Path
    sha256: str


SHIPPED = {
    "camvid": ShippedModel(
        "pdanet_resnet18_half",
        11,
        _FOLDER / "camvid" / "pdanet_resnet18_half.keras",
        "e030212e75dbb544f9024de1cfa6484d85a5532a158214018b7610f73162cf73",
    ),
}


def shipped_file(weights: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Returns the file of a shipped model if `weights` is the name of one, else `weights`."""
    shipped = SHIPPED.get(os.fspath(weights))
    return weights if shipped is None else shipped.file
