"""Uses an installed pdanet_tf as a reader of its documentation would; run by `wheel-check`."""

import importlib.metadata
import platform
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import pdanet_tf


def package_folder() -> Path:
    """Returns the folder of the installed package."""
    return Path(pdanet_tf.__file__).parent


def check_shipped_model(image: np.ndarray) -> None:
    """Predicts with the trained model of the package, without network and other files."""
    predictor = pdanet_tf.Predictor("camvid")
    labels = predictor.label_map(image)
    if labels.shape != image.shape[:2] or "road" not in predictor.classes.names:
        raise SystemExit(f"the trained model predicts {labels.shape}, {predictor.classes}")
    if not (package_folder() / "weights/trained/camvid/README.md").is_file():
        raise SystemExit("the wheel lacks the card of the trained model")


def main() -> None:
    """Builds, predicts, saves and loads, and prints what was installed."""
    package = package_folder()
    if not package.is_relative_to(sys.prefix):
        raise SystemExit(f"expected an installed pdanet_tf, found {package}")
    for path in ("py.typed", "data/sources/ade20k_classes.csv", "data/sources/ade20k_sizes.csv"):
        if not (package / path).is_file():
            raise SystemExit(f"the wheel lacks {path}")
    image = np.random.default_rng(0).integers(0, 256, (65, 97, 3)).astype("uint8")
    check_shipped_model(image)
    model = pdanet_tf.build_model("pdanet_resnet18", num_classes=3)
    labels = pdanet_tf.predict(image, model).label_map
    model.save("model.keras")
    again = pdanet_tf.predict(image, "model.keras").label_map
    if labels.shape != (65, 97) or not np.array_equal(labels, again):
        raise SystemExit(f"saving and loading changed the prediction, {labels.shape}")
    print(
        f"pdanet_tf {importlib.metadata.version('pdanet_tf')} works on Python "
        f"{platform.python_version()} with TensorFlow {tf.__version__}, Keras {keras.__version__} "
        f"and NumPy {np.__version__}"
    )


if __name__ == "__main__":
    main()
