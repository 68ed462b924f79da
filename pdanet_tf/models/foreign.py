"""Models from checkpoints of other packages."""

from typing import Any

import keras

from pdanet_tf.models.build import build_model
from pdanet_tf.weights.sources.checkpoint import Checkpoint, require_architecture


def build_from_checkpoint(checkpoint: Checkpoint, **given: Any) -> keras.Model:
    """Builds the model that a checkpoint holds, with its weights.

    Args:
        checkpoint: The checkpoint.
        **given: Arguments of `build_model`, its name as `model`. Those that are None, and those
            that are left out, are the checkpoint's.

    Raises:
        ValueError: If no model of this package is equal to it, a given argument contradicts it, or
            its weights do not fit. The message names the nearest model.
    """
    arguments = require_architecture(checkpoint).complete(checkpoint.file, **given)
    return build_model(arguments.pop("model"), **arguments, weights=checkpoint)
