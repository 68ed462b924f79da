"""The backbone inside a model, its stages, and freezing them."""

from collections.abc import Iterable

import keras

from pdanet_tf.base.fields import with_nearest

_WHOLE = "backbone"
_STEM = "stem"
_FIRST = "C1"


def find_backbone(model: keras.Model) -> keras.Model | None:
    """Returns the backbone of a segmentation model: the layer that outputs a dict of stages.

    Args:
        model: A model of `build_model`, new or loaded from a file.

    Returns:
        The layer, which is a model; None if there is no such layer.
    """
    return next((layer for layer in model.layers if _stages(layer)), None)


def _stages(layer: keras.layers.Layer) -> list[str]:
    """Returns the names of the stages that a layer outputs, from C1 to C5."""
    if not isinstance(layer, keras.Model):
        return []
    try:
        output = layer.output
    except (AttributeError, ValueError):  # a subclassed model, or one that is called twice
        return []
    names = output if isinstance(output, dict) else ()
    return sorted(name for name in names if name.startswith("C"))


def stage_layers(backbone: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Returns the layers of every stage of a backbone.

    The layers of a stage are those that compute it and that no earlier stage needs.

    Args:
        backbone: A functional model from images to a dict of stages.

    Returns:
        Lists of layers by stage, from "C1" to "C5" (or those of them that the backbone has).
    """
    found: dict[str, list[keras.layers.Layer]] = {}
    earlier: set[int] = set()
    for stage in _stages(backbone):
        needed = keras.Model(backbone.input, backbone.output[stage]).layers
        found[stage] = [layer for layer in needed if id(layer) not in earlier]
        earlier.update(map(id, needed))
    return found


def freeze(model: keras.Model, parts: str | Iterable[str]) -> None:
    """Excludes parts of a model's backbone from training.

    The weights of these parts stay as they are, and their batch norm stays in inference mode: it
    uses its moving averages and does not update them. Call this function before `model.compile`.

    Call it again after loading a `.keras` file: Keras does not freeze the layers inside the layers
    that it loads.

    Args:
        model: A model of `build_model`.
        parts: "backbone", or one or several stages: "C1" to "C5", or "stem", which is "C1".

    Raises:
        ValueError: If the model has no backbone, or its backbone has no such part. The message
            lists the parts that exist.

    Example:
        ```python
        model = pdanet_tf.build_model("pdanet_resnet18", num_classes=2)
        pdanet_tf.backbones.freeze(model, ("C1", "C2"))
        ```
    """
    names = [parts] if isinstance(parts, str) else [*parts]
    backbone = find_backbone(model)
    if backbone is None:
        raise ValueError(f"{model.name!r} has no backbone with stages, so nothing can be frozen")
    stages = stage_layers(backbone)
    if _FIRST in stages:
        stages[_STEM] = stages[_FIRST]
    known = [_WHOLE, *([_STEM] if _STEM in stages else ()), *_stages(backbone)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"The backbone of {model.name!r} has no part {with_nearest(unknown, known)}. Its parts "
            f"are {', '.join(known)}. Received: freeze={tuple(names)}"
        )
    for name in names:
        for layer in [backbone] if name == _WHOLE else stages[name]:
            # A layer from a file knows that it is frozen, but the layers inside it do not, and
            # TensorFlow ignores an assignment that changes nothing.
            layer.trainable = True
            layer.trainable = False
