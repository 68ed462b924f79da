"""Starting a run from the weights of another model, and freezing parts of the backbone."""

import json
import math
import zipfile
from pathlib import Path

import keras

from pdanet_tf.backbones.parts import freeze
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.fitting import LoadedWeights
from pdanet_tf.weights.published import CHECKPOINTS, check_published


def prepare_model(
    model: keras.Model, config: TrainConfig, num_classes: int
) -> LoadedWeights | None:
    """Loads the initial weights of a run into its new model, and freezes parts of the model.

    Args:
        model: The model, not compiled yet.
        config: The run.
        num_classes: Number of classes of the model.

    Returns:
        What was loaded; None if `config.weights` is None.

    Raises:
        ValueError: If the weights do not fit (see `pdanet_tf.weights.files.load_weights`), or the
            backbone has no such part.
        ImportError: As `load_weights`.
        OSError: As `load_weights`.
    """
    if config.freeze is not None:
        freeze(model, config.freeze)
    if config.weights is None:
        return None
    if config.strict and config.weights in CHECKPOINTS:  # before it is downloaded
        check_published(
            config.weights,
            model=config.model,
            variant=config.variant,
            num_classes=num_classes,
            normalization=config.normalization,
        )
    return load_weights(model, config.weights, strict=config.strict)


def load_with_frozen_parts(path: Path, parts: str | tuple[str, ...]) -> keras.Model:
    """Loads a compiled model, freezes parts of it, and then loads the state of its optimizer.

    Keras does not freeze the layers inside the frozen layers that it loads, and builds the
    optimizer for the variables of all of them. The state of an optimizer of fewer variables does
    not fit then.

    Args:
        path: A `.keras` file of a compiled model.
        parts: The parts, see `pdanet_tf.backbones.freeze`.
    """
    model = keras.saving.load_model(path, compile=False)
    freeze(model, parts)
    with zipfile.ZipFile(path) as archive:
        compiled = json.loads(archive.read("config.json")).get("compile_config")
    if compiled:
        model.compile_from_config(compiled)
        model.load_weights(path)
    return model


def describe_fine_tuning(
    model: keras.Model, config: TrainConfig, loaded: LoadedWeights | None
) -> list[str]:
    """Describes the initial weights and the frozen parts of a run, a line for each if there are.

    Args:
        model: The model.
        config: The run.
        loaded: What was loaded; None if nothing was, or the run is resumed.
    """
    lines = [] if loaded is None else [f"Weights: {loaded.describe()}"]
    if config.freeze is None:
        return lines
    parts = [config.freeze] if isinstance(config.freeze, str) else config.freeze
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    lines.append(
        f"Frozen: {', '.join(parts)}; {trained:,} of {model.count_params():,} parameters are "
        "trained"
    )
    if config.weights is None and config.backbone_weights is None:
        lines.append(
            "Note: the frozen parts have random weights, because neither weights nor "
            "backbone_weights is given"
        )
    return lines
