"""The settings that belong to a model's weights, and the loader of models for inference."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import keras

from pdanet_tf.base.fields import from_mapping
from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.data.classes import Classes
from pdanet_tf.files import one_line, read_json, write_atomically
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.models import build_model
from pdanet_tf.models.foreign import build_from_checkpoint
from pdanet_tf.models.inspection import count_channels, count_classes, find_logits
from pdanet_tf.models.registry import find_model
from pdanet_tf.weights.endings import STATE_ENDINGS
from pdanet_tf.weights.files import NAMED_WEIGHTS, count_classes_in_file, load_keras_file
from pdanet_tf.weights.hub import local_file
from pdanet_tf.weights.published import CHECKPOINTS
from pdanet_tf.weights.shipped import SHIPPED, shipped_file
from pdanet_tf.weights.sources.checkpoint import read_checkpoint

SETTINGS_FILE = "inference.json"


@dataclass(frozen=True)
class InferenceSettings:
    """What inference requires besides a model's weights.

    Training writes these settings as `inference.json` beside its checkpoints.

    Attributes:
        classes: Names and colours of the classes.
        protocol: How images are presented to the model.
        pixel_format: Number of channels of the images, and type of their values.
    """

    classes: Classes
    protocol: Protocol
    pixel_format: PixelFormat = RGB

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `inference.json` into a folder."""
        write_atomically(Path(folder) / SETTINGS_FILE, self.to_json())

    def to_json(self) -> str:
        """Returns the content of `inference.json`."""
        content = {
            "classes": [
                {"name": name, "color": color}
                for name, color in zip(self.classes.names, self.classes.colors, strict=True)
            ],
            **dataclasses.asdict(self.protocol),
        }
        if not self.pixel_format.is_rgb:
            content |= dataclasses.asdict(self.pixel_format)
        return json.dumps(content, indent=2)

    @classmethod
    def load_for(cls, model_file: str | os.PathLike[str]) -> "InferenceSettings | None":
        """Returns the settings of a model.

        Args:
            model_file: A file of a model or of weights, or its address on the Hub, whose settings
                are in the `inference.json` of the same folder; the name of a model that comes with
                the package; or that of a published checkpoint, which has the classes of its data
                set and the protocol of its publisher.

        Returns:
            The settings; None if there is no `inference.json`.

        Raises:
            ValueError: If `inference.json` does not hold such settings; the message names it.
        """
        if str(model_file) in CHECKPOINTS:
            published = CHECKPOINTS[str(model_file)]
            protocol = Protocol(short_edges=published.short_edges, max_size=published.max_size)
            return cls(published.classes, protocol)
        path = Path(local_file(shipped_file(model_file))).parent / SETTINGS_FILE
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            classes = Classes.from_entries(content.pop("classes", None))
            names = [field.name for field in dataclasses.fields(PixelFormat)]
            pixels = {name: content.pop(name) for name in names if name in content}
            return cls(
                classes,
                from_mapping(Protocol, content),
                from_mapping(PixelFormat, pixels),
            )
        except ValueError as error:
            raise ValueError(
                f"{path}: not the settings that training writes: {one_line(error)}"
            ) from error


def load_model(
    model: keras.Model | str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
) -> tuple[keras.Model, InferenceSettings | None]:
    """Loads a model from images to logits, with the settings that belong to its weights.

    Args:
        model: A `.keras` file, or its address on the Hub, such as "hf://owner/name" (extra `hub`),
            see `pdanet_tf.weights.hub.local_file`; or the name of a model that comes with the
            package, one of `pdanet_tf.weights.shipped.SHIPPED`; or that of a published checkpoint,
            one of `pdanet_tf.weights.published.CHECKPOINTS`, which is downloaded unless it is in
            the cache (extra `torch`); or a checkpoint of another package, see
            `pdanet_tf.weights.sources`; or a model, which is returned as it is; or, with `weights`,
            the name of an architecture, one of `pdanet_tf.list_models()`.
        weights: Weights for the architecture: one of these names; a `.keras` file that holds a
            model of that architecture; a `.weights.h5` file of a model that `build_model` built
            with default options (the number of classes may differ); or a `.pth`, `.pt`,
            `.safetensors` or `.npz` file of another package, see `pdanet_tf.weights.sources`.

    Returns:
        The model, and the settings of a published checkpoint or those in the `inference.json`
        beside the file; None if there are none.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If a published checkpoint is named and PyTorch is not installed.
        OSError: If the checkpoint cannot be downloaded.
        ValueError: If the file does not hold a model from images to logits, if there is no such
            architecture, or if the weights do not belong to it.
    """
    if weights is not None:
        weights = local_file(weights)
        loaded, settings = _load_architecture(model, weights), InferenceSettings.load_for(weights)
        _check_settings(loaded, settings, weights)
        return loaded, settings
    if isinstance(model, keras.Model):
        return model, None
    model = local_file(model)
    if str(model) in CHECKPOINTS:
        loaded = _build_published(CHECKPOINTS[str(model)].model, str(model))
    elif str(model) in SHIPPED:
        loaded = _build_shipped(SHIPPED[str(model)].model, str(model))
    elif str(model).endswith(STATE_ENDINGS):
        loaded = build_from_checkpoint(read_checkpoint(model))
    elif str(model).endswith(".weights.h5"):
        raise ValueError(
            f"{model}: holds weights, but no model. Give the name of the architecture as model, "
            "and this file as weights"
        )
    else:
        loaded = load_keras_file(model)
        find_logits(loaded, str(model))
    settings = InferenceSettings.load_for(model)
    _check_settings(loaded, settings, model)
    return loaded, settings


def _load_architecture(
    architecture: keras.Model | str | os.PathLike[str], weights: str | os.PathLike[str]
) -> keras.Model:
    """Returns a model of an architecture with the given weights."""
    name = architecture.name if isinstance(architecture, keras.Model) else str(architecture)
    if (
        isinstance(architecture, keras.Model)
        or name in NAMED_WEIGHTS
        or name.endswith((".keras", ".h5"))
    ):
        raise ValueError(
            "weights requires the name of an architecture, which has no weights of its own. "
            f"Received: model={name!r}, weights={str(weights)!r}"
        )
    find_model(name)  # raises an error if there is no such architecture
    if str(weights) in CHECKPOINTS:
        return _build_published(name, str(weights))
    if str(weights) in SHIPPED:
        return _build_shipped(name, str(weights))
    if str(weights).endswith(".weights.h5"):
        return build_model(name, _count_classes_of_weights(weights), weights=weights)
    if str(weights).endswith(STATE_ENDINGS):
        return build_from_checkpoint(read_checkpoint(weights), model=name)
    # Use the model in the file instead of building a new one, because only the file contains its
    # options.
    loaded = load_keras_file(weights)
    if loaded.name != name:
        raise ValueError(
            f"{weights} holds a model of another architecture: expected {name!r}, found "
            f"{loaded.name!r}. To use that model, give the file as model, without weights"
        )
    find_logits(loaded, str(weights))
    return loaded


def _build_published(name: str, checkpoint: str) -> keras.Model:
    published = CHECKPOINTS[checkpoint]
    return build_model(
        name, published.num_classes, normalization=published.normalization, weights=checkpoint
    )


def _build_shipped(name: str, shipped: str) -> keras.Model:
    return build_model(name, SHIPPED[shipped].num_classes, weights=shipped)


def _count_classes_of_weights(weights: str | os.PathLike[str]) -> int:
    """Returns the number of classes of a `.weights.h5` file.

    Raises:
        ValueError: If neither the file nor the `inference.json` beside it contains the number of
            classes.
    """
    found = count_classes_in_file(weights)
    if found is not None:
        return found
    settings = InferenceSettings.load_for(weights)
    if settings is None:
        raise ValueError(
            f"{weights}: the number of classes cannot be read from the file. Put the "
            f"{SETTINGS_FILE} of its training beside it, or use a .keras file"
        )
    return len(settings.classes)


def _check_settings(
    model: keras.Model, settings: InferenceSettings | None, file: str | os.PathLike[str]
) -> None:
    """Checks that settings have as many classes and channels as the model."""
    if settings is not None and settings.pixel_format.channels != count_channels(model):
        raise ValueError(
            f"{Path(file).parent / SETTINGS_FILE}: expected the {count_channels(model)} "
            f"channels of {Path(file).name}, found {settings.pixel_format.channels}"
        )
    if settings is not None and len(settings.classes) != count_classes(model):
        raise ValueError(
            f"{Path(file).parent / SETTINGS_FILE}: expected the {count_classes(model)} "
            f"classes of {Path(file).name}, found {len(settings.classes)}"
        )
