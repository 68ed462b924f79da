"""Predicted label maps that are stored in a folder."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import read_label
from pdanet_tf.files import read_json, write_atomically
from pdanet_tf.inference.marked_png import read_mark, save_marked
from pdanet_tf.inference.predictor import Predictor

_ORIGIN_FILE = "origin.json"  # in the folder of the predictions
_HASHED = ("weights", "names of the images", "sizes of the images")  # entries that are hashes
_IMAGE_HASH = "image"  # key of the mark of each stored prediction


def describe_origin(model: keras.Model, predictor: Predictor, dataset: SegmentationDataset) -> Any:
    """Returns what the predictions of a model depend on, as read back from JSON."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.asarray(keras.ops.convert_to_numpy(weight)).tobytes())
    indices = range(len(dataset))
    origin = {
        "model": model.name,
        "weights": digest.hexdigest(),
        "precision": model.dtype_policy.name,
        "protocol": dataclasses.asdict(predictor.protocol),
        "crf": None if predictor.crf is None else dataclasses.asdict(predictor.crf),
        "classes": dataset.classes.names,
        "label_offset": dataset.label_offset,
        "number of images": len(dataset),
        "names of the images": _hash_json([dataset.name(index) for index in indices]),
        "sizes of the images": _hash_json([dataset.size(index) for index in indices]),
    }
    return json.loads(json.dumps(origin))


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _hash_image(image: np.ndarray) -> str:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class Store:
    """Predicted label maps in a folder, and a file that records their origin.

    Each label map is marked with a hash of the pixels that it was predicted from.

    Args:
        folder: The folder.
        origin: What the predictions depend on, see `describe_origin`.
        dataset: The data set: names of the images, and numbering of the classes.
        resume: Whether the folder may contain predictions of the same origin.

    Raises:
        FileExistsError: If the folder is not empty and `resume` is False.
        ValueError: If it contains predictions of another origin.
    """

    def __init__(
        self, folder: Path, origin: dict[str, Any], dataset: SegmentationDataset, resume: bool
    ) -> None:
        self.folder = folder
        self.dataset = dataset
        note = folder / _ORIGIN_FILE
        if folder.exists() and any(folder.iterdir()):
            if not resume:
                raise FileExistsError(
                    f"{folder} already holds files. Choose another folder for the predictions, or "
                    "set resume=True to continue with those in it."
                )
            if not note.is_file():
                raise ValueError(
                    f"{folder} holds files, but no {_ORIGIN_FILE}, which records the origin of "
                    "predictions. Choose another folder for the predictions."
                )
            different = _differences(read_json(note), origin)
            if different:
                raise ValueError(
                    f"The predictions in {folder} come from another evaluation: {different}. "
                    "Choose another folder for the predictions."
                )
        write_atomically(note, json.dumps(origin, indent=2) + "\n")

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.dataset.name(index)}.png"

    def read(self, index: int, image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """Returns the stored prediction of an image, or None if there is none."""
        path = self._path(index)
        if not path.is_file():
            return None
        prediction = read_label(path) - self.dataset.label_offset
        if prediction.shape != shape:
            raise DataError(
                f"{path}: the stored prediction is {prediction.shape[0]} x {prediction.shape[1]} "
                f"(height x width), the label {shape[0]} x {shape[1]}; remove the file"
            )
        if read_mark(path, _IMAGE_HASH) != _hash_image(image):
            raise DataError(
                f"{path}: the stored prediction belongs to another image of the same name and "
                "size. Choose another folder for the predictions, or remove the file"
            )
        return prediction

    def write(self, index: int, image: np.ndarray, prediction: np.ndarray) -> None:
        """Stores the prediction of an image, whole or not at all."""
        highest = self.dataset.num_classes - 1 + self.dataset.label_offset
        raw = prediction + self.dataset.label_offset
        label_map = Image.fromarray(raw.astype("uint8" if highest < 256 else "uint16"))
        save_marked(label_map, self._path(index), _IMAGE_HASH, _hash_image(image))


def _differences(former: dict[str, Any], origin: dict[str, Any]) -> str:
    """Returns how two evaluations differ, in words; hashes are not shown."""
    found = []
    for name, value in origin.items():
        if former.get(name) == value:
            continue
        if name not in former:
            found.append(f"their {name} is not known")
        elif name in _HASHED:
            found.append(f"their {name} differ")
        else:
            found.append(f"their {name} is {former[name]!r}, not {value!r}")
    return "; ".join(found)
