"""Segmentation of one image; the last models are kept for the next one."""

import functools
import os
from pathlib import Path

import keras

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.crf import CRFParameters
from pdanet_tf.inference.pixels import ImageLike, read_pixels
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import SETTINGS_FILE, InferenceSettings, load_model
from pdanet_tf.weights.files import NAMED_WEIGHTS
from pdanet_tf.weights.hub import local_file

_KEPT = 4  # models that `predict` keeps


def predict(
    image: ImageLike,
    model: keras.Model | str | os.PathLike[str],
    classes: Classes | None = None,
    protocol: Protocol | None = None,
    crf: CRFParameters | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Prediction:
    """Segments an image.

    The last four models are kept, so that further calls with them load and trace nothing. A file
    that has changed is loaded again. Use `Predictor` for several images, or to decide yourself how
    long a model is kept.

    Args:
        image: One image, as `Predictor.predict` takes it.
        model: See `Predictor`.
        classes: See `Predictor`.
        protocol: See `Predictor`.
        crf: See `Predictor`.
        weights: See `Predictor`.

    Returns:
        A `Prediction` at the image's own size.

    Raises:
        DataError: If the file is missing, truncated or not an image.
        FileNotFoundError: If there is no such model file.
        ValueError: If an array has another shape or dtype, or the number of classes is wrong.

    Example:
        ```python
        prediction = pdanet_tf.predict("photo.jpg", "runs/first/best.keras")
        prediction.overlay.save("overlay.png")
        ```
    """
    pixel_format = None
    if weights is not None or not isinstance(model, keras.Model):
        model, settings = _load_cached(model, weights)
        if settings is not None:
            classes, protocol = classes or settings.classes, protocol or settings.protocol
            pixel_format = settings.pixel_format
    predictor = _predictor(model, protocol, crf, classes, pixel_format)
    pixels = read_pixels(image, predictor.pixel_format)
    return Prediction(predictor.label_map(pixels), pixels, predictor.classes)


def _load_cached(
    model: keras.Model | str | os.PathLike[str], weights: str | os.PathLike[str] | None
) -> tuple[keras.Model, InferenceSettings | None]:
    """Returns a model and its settings; loads them only if they are new or a file has changed."""
    if isinstance(model, keras.Model):
        return load_model(model, weights)
    name = _full_path(model) if weights is None else str(model)
    file = None if weights is None else _full_path(weights)
    path = Path(file or name)
    return _load_unchanged(name, file, _version(path), _version(path.parent / SETTINGS_FILE))


def _full_path(file: str | os.PathLike[str]) -> str:
    """Returns the absolute path of a file, or the name of a published checkpoint unchanged.

    A file on the Hub is downloaded, unless it is in the cache.
    """
    file = local_file(file)
    return str(file) if str(file) in NAMED_WEIGHTS else str(Path(file).absolute())


def _version(path: Path) -> tuple[int, int] | None:
    """Returns the time and the size of a file, which change when it is written; None if missing."""
    if not path.is_file():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=_KEPT)
def _load_unchanged(
    model: str, weights: str | None, *_: tuple[int, int] | None
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a model and its settings, once for each version of their files."""
    return load_model(model, weights)


@functools.lru_cache(maxsize=_KEPT)
def _predictor(
    model: keras.Model,
    protocol: Protocol | None,
    crf: CRFParameters | None,
    classes: Classes | None,
    pixel_format: PixelFormat | None,
) -> Predictor:
    """Returns a predictor; the last few are kept, so that their graphs are traced only once."""
    return Predictor(model, protocol, crf, classes, pixel_format=pixel_format)
