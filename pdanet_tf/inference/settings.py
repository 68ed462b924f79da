"""What has to be known beside a model's weights, and the only loader of models."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import keras

from pdanet_tf.base.fields import from_mapping
from pdanet_tf.data.classes import Classes
from pdanet_tf.files import one_line, read_json, write_atomically
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.models import build_model
from pdanet_tf.models.inspection import count_classes, find_logits
from pdanet_tf.weights.files import load_keras_file
from pdanet_tf.weights.published import CHECKPOINTS

SETTINGS_FILE = "inference.json"


@dataclass(frozen=True)
class InferenceSettings:
    """What has to be known beside a model's weights in order to use it.

    Training writes it as `inference.json` beside its checkpoints.

    Attributes:
        classes: Names and colours of the classes.
        protocol: How the model sees an image.
    """

    classes: Classes
    protocol: Protocol

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `inference.json` into a folder."""
        content = {
            "classes": [
                {"name": name, "color": color}
                for name, color in zip(self.classes.names, self.classes.colors, strict=True)
            ],
            **dataclasses.asdict(self.protocol),
        }
        write_atomically(Path(folder) / SETTINGS_FILE, json.dumps(content, indent=2))

    @classmethod
    def beside(cls, model_file: str | os.PathLike[str]) -> "InferenceSettings | None":
        """Reads the `inference.json` in the folder of a model's file; None if there is none.

        A published checkpoint has the classes of its data set, and the reference's protocol.

        Raises:
            ValueError: If the file holds anything else; the message names it.
        """
        if str(model_file) in CHECKPOINTS:
            return cls(CHECKPOINTS[str(model_file)].classes, Protocol(short_edges=(450,)))
        path = Path(model_file).parent / SETTINGS_FILE
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            entries = content.pop("classes", None)
            if not isinstance(entries, list) or not all(
                isinstance(entry, dict) and entry.keys() == {"name", "color"} for entry in entries
            ):
                raise ValueError('"classes" must be a list of objects with "name" and "color"')
            columns = {
                field: [entry[key] for entry in entries]
                for field, key in (("names", "name"), ("colors", "color"))
            }
            return cls(from_mapping(Classes, columns), from_mapping(Protocol, content))
        except ValueError as error:
            raise ValueError(
                f"{path}: not what training writes beside a model: {one_line(error)}"
            ) from error


def load_model(
    model: keras.Model | str | os.PathLike[str],
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a `.keras` file or a published checkpoint with its settings.

    Args:
        model: A `.keras` file; the name of a published checkpoint, one of
            `pdanet_tf.weights.published.CHECKPOINTS`, which is downloaded where it is not in the
            cache (extra `torch`); or a model, which is returned as it is.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If a published checkpoint is named and PyTorch is not installed.
        OSError: If it cannot be downloaded.
        ValueError: If the file is no model from images to logits.
    """
    if isinstance(model, keras.Model):
        return model, None
    published = CHECKPOINTS.get(str(model))
    if published is None:
        loaded, settings = load_keras_file(model), InferenceSettings.beside(model)
        find_logits(loaded, str(model))
        if settings is not None and len(settings.classes) != count_classes(loaded):
            raise ValueError(
                f"{Path(model).parent / SETTINGS_FILE}: expected the {count_classes(loaded)} "
                f"classes of {Path(model).name}, found {len(settings.classes)}"
            )
        return loaded, settings
    loaded = build_model(
        published.model,
        published.num_classes,
        normalization=published.normalization,
        weights=str(model),
    )
    return loaded, InferenceSettings.beside(model)
