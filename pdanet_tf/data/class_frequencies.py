"""How often each class occurs in a data set, and the class weights that follow from it."""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdanet_tf.base.choices import CLASS_WEIGHTS, check_choice
from pdanet_tf.base.download import keras_home
from pdanet_tf.base.fields import shorten
from pdanet_tf.base.progress import track
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.files import read_json, write_atomically

_FORMAT = 1  # of the files in the cache; part of their names
_ENET_OFFSET = 1.02


@dataclass(frozen=True)
class ClassFrequencies:
    """Numbers of labelled pixels.

    Attributes:
        pixels: Number of pixels of each class, `(num_classes,)`, int64.
        image_pixels: For each class, the number of labelled pixels of the images in which it
            occurs, `(num_classes,)`, int64.
    """

    pixels: np.ndarray
    image_pixels: np.ndarray


def count_classes(
    dataset: SegmentationDataset, cache: Path | None = None, show_progress: bool = True
) -> ClassFrequencies:
    """Counts the pixels of each class in all annotations of a data set.

    The images are not decoded if the data set can read annotations alone. The result is cached
    under a hash of all annotations, if the data set has hashes.

    Args:
        dataset: The data set.
        cache: Folder of the cache; None takes `~/.keras/pdanet_tf/class_frequencies`.
        show_progress: Whether a terminal gets a bar.

    Raises:
        DataError: If an annotation cannot be read.
    """
    folder = cache or keras_home() / "pdanet_tf" / "class_frequencies"
    digest = _hash_annotations(dataset)
    file = None if digest is None else folder / f"{digest}.json"
    found = None if file is None else _load(file, dataset.num_classes)
    if found is not None:
        return found
    pixels, image_pixels = (np.zeros(dataset.num_classes, "int64") for _ in range(2))
    counts = map_in_threads(lambda index: _count(dataset, index), len(dataset))
    for count in track(counts, "Counting the classes", len(dataset), show_progress, leave=False):
        pixels += count
        image_pixels += np.where(count > 0, count.sum(), 0)
    if file is not None:
        content = {"pixels": pixels.tolist(), "image_pixels": image_pixels.tolist()}
        with contextlib.suppress(OSError):  # without a cache it is counted again the next time
            write_atomically(file, json.dumps(content) + "\n")
    return ClassFrequencies(pixels, image_pixels)


def compute_class_weights(
    scheme: str, frequencies: ClassFrequencies, classes: Classes
) -> tuple[float, ...]:
    """Computes the weight of each class in a loss from how often it occurs.

    Args:
        scheme: With the number of classes K and the number of pixels n of each class:

            - "balanced": sum(n) / (K * n), as scikit-learn's `compute_class_weight`.
            - "median-frequency": median(f) / f, where f is n divided by the number of labelled
              pixels of the images in which the class occurs (Eigen and Fergus 2015; SegNet).
            - "log": 1 / ln(1.02 + p), where p is n / sum(n) (ENet).
        frequencies: How often each class occurs.
        classes: Names of the classes, for the message.

    Returns:
        One weight per class.

    Raises:
        ValueError: If there is no such scheme; or if a class does not occur, which has no weight
            under "balanced" and "median-frequency". The message names these classes.
    """
    check_choice("class_weights", scheme, CLASS_WEIGHTS)
    pixels = frequencies.pixels
    absent = [name for name, count in zip(classes.names, pixels, strict=True) if not count]
    if absent and scheme != "log":
        raise ValueError(
            f"class_weights={scheme!r} requires every class in the annotations of the training "
            f"split. Without a pixel: {shorten(', '.join(absent))}. Use class_weights='log', or "
            "one number per class"
        )
    if scheme == "balanced":
        weights = pixels.sum() / (len(pixels) * pixels)
    elif scheme == "median-frequency":
        shares = pixels / frequencies.image_pixels
        weights = np.median(shares) / shares
    else:
        weights = 1 / np.log(_ENET_OFFSET + pixels / max(int(pixels.sum()), 1))
    return tuple(weights.tolist())


def _count(dataset: SegmentationDataset, index: int) -> np.ndarray:
    """Returns the number of pixels of each class in one annotation, `(num_classes,)`."""
    labels = dataset.read_label_map(index)
    classes = labels[(labels >= 0) & (labels < dataset.num_classes)]
    return np.bincount(classes, minlength=dataset.num_classes)


def _hash_annotations(dataset: SegmentationDataset) -> str | None:
    """Returns a hash of all annotations, in order; None if one has none."""
    digest = hashlib.sha256(f"{_FORMAT} {dataset.num_classes} ".encode())
    for each in map_in_threads(dataset.hash_annotation, len(dataset)):
        if each is None:
            return None
        digest.update(each)
    return digest.hexdigest()[:32]


def _load(file: Path, num_classes: int) -> ClassFrequencies | None:
    """Reads a file of the cache; returns None if there is none, or it is damaged."""
    try:
        content = read_json(file)
        arrays = [np.array(content[name], "int64") for name in ("pixels", "image_pixels")]
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    is_sound = all(each.shape == (num_classes,) and (each >= 0).all() for each in arrays)
    if not is_sound or not (arrays[0] <= arrays[1]).all():
        return None
    return ClassFrequencies(*arrays)
