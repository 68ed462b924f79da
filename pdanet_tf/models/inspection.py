"""Facts about a finished model: its logits, their grid in the image, its classes and its images.

The model may come from `build_model`, from a file, or from other code.
"""

from typing import Any

import keras

from pdanet_tf.backbones.stages import output_grids
from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.base.types import Tensor
from pdanet_tf.base.wording import quantity
from pdanet_tf.layers import BilinearResizeLike
from pdanet_tf.ops.grid import CellGrid

# Name of the input of models that do not normalise their images.
NORMALIZED_IMAGE = "normalized_image"
# The grid of the reference's networks. The reference stretches their logits over the image, which
# puts every cell into the middle of its 8 x 8 pixels, half a stride from the centre of its
# receptive field.
_REFERENCE_GRID = CellGrid(8, 0.0)


def logits_of(outputs: Any) -> Any:
    """Returns the logits among the outputs of a model.

    Args:
        outputs: The output of a model: logits, or a dict with "logits". Or what Keras returns in
            the same structure, such as shapes.

    Returns:
        The value of "logits" in a dict; `outputs` itself otherwise.

    Raises:
        KeyError: If `outputs` is a dict without "logits"; `find_logits` checks that before.
    """
    return outputs["logits"] if isinstance(outputs, dict) else outputs


def find_logits(model: keras.Model, name: str) -> Tensor:
    """Returns the symbolic logits of a model of any origin.

    Args:
        model: A model.
        name: Name of the model in the message, such as its file.

    Returns:
        A symbolic tensor `(batch, height, width, num_classes)`.

    Raises:
        ValueError: If the model is not functional (or a built `Sequential`), if its input is not
            one image `(batch, height, width, channels)`, or if its output is neither logits nor a
            dict with "logits".
    """
    try:
        inputs = model.inputs
        # A `Sequential` lists its output, even if it is the only one.
        output = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    except (AttributeError, ValueError):  # a subclassed model, or one that was never built
        raise ValueError(
            f"{name}: expected a functional model from images to logits. Received: a "
            f"{type(model).__name__} whose inputs and outputs are not known"
        ) from None
    logits = output.get("logits") if isinstance(output, dict) else output
    shapes: list[Any] = [getattr(tensor, "shape", ()) for tensor in (*inputs, logits)]
    if [len(shape) for shape in shapes] != [4, 4] or None in (shapes[0][-1], shapes[1][-1]):
        raise ValueError(
            f"{name}: expected a model from an image (batch, height, width, channels) to logits "
            '(batch, height, width, num_classes), or to a dict with such "logits". Received: a '
            f"model from {' and '.join(str(tuple(each.shape)) for each in inputs)} to "
            f"{_describe(output)}"
        )
    return logits


def _describe(output: Any) -> str:
    """Returns the shapes of a model's outputs, in words."""
    if isinstance(output, dict):
        parts = (f"{key!r} {tuple(tensor.shape)}" for key, tensor in output.items())
        return f"a dict of {', '.join(parts)}"
    if isinstance(output, list | tuple):
        return f"a list of {', '.join(str(tuple(tensor.shape)) for tensor in output)}"
    return str(tuple(output.shape))


def count_classes(model: keras.Model) -> int:
    """Returns the number of classes of a model.

    Raises:
        ValueError: If the model does not map images to logits.
    """
    return find_logits(model, repr(model.name)).shape[-1]


def count_channels(model: keras.Model) -> int:
    """Returns the number of channels of the images that a model takes.

    Raises:
        ValueError: If the model does not map images to logits.
    """
    find_logits(model, repr(model.name))
    return model.inputs[0].shape[-1]


def output_placements(model: keras.Model) -> dict[str, CellGrid]:
    """Returns where the outputs of a model are placed in the image: at their receptive fields.

    Args:
        model: A functional model from one image to a dict of logits or stages.

    Returns:
        A grid for each output that is placed by its receptive field. Outputs on the grid of the
        reference's networks are left out, because the reference stretches them over the image. The
        dict is empty if a layer moves cells in an unknown way.
    """
    try:
        grids = output_grids(model)
    except LookupError:
        return {}
    return {name: grid for name, grid in grids.items() if grid != _REFERENCE_GRID}


def split_upsampling(model: keras.Model) -> tuple[keras.Model, CellGrid | None]:
    """Splits off the layer that upsamples a model's logits, if it ends in one.

    Args:
        model: A functional model, or a `Sequential`, from images to logits, or to a dict with
            "logits".

    Returns:
        The rest of the model, and where its logits lie in the image; None if they are stretched
        over it.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs[0], name=model.name)
    last = next((layer for layer in model.layers if layer.name == "logits"), None)
    # Logits that are resized with aligned corners lie on no grid, so the network includes that.
    if isinstance(last, BilinearResizeLike) and not last.align_corners:
        return keras.Model(model.input, last.input[0]), last.grid
    placements = output_placements(keras.Model(model.input, {"logits": logits_of(model.output)}))
    return model, placements.get("logits")


def split_pixel_model(model: keras.Model) -> tuple[keras.Model, CellGrid | None]:
    """Splits a model that takes pixels, as `split_upsampling` does.

    Raises:
        ValueError: If the model was built with `include_preprocessing=False`, or does not map
            images to logits.
    """
    find_logits(model, repr(model.name))
    if model.inputs[0].name == NORMALIZED_IMAGE:
        raise ValueError(
            f"The model {model.name!r} takes normalised images, not pixels: build it with "
            "include_preprocessing=True (the weights are the same)."
        )
    return split_upsampling(model)


def default_pixel_format(model: keras.Model) -> PixelFormat:
    """Returns the format of the images of a model whose settings are not known."""
    channels = count_channels(model)
    return RGB if channels == 3 else PixelFormat(channels, None)


def check_channels(model: keras.Model, pixel_format: PixelFormat) -> None:
    """Checks that a model takes images of a format.

    Raises:
        ValueError: If it takes images of other channels.
    """
    channels = count_channels(model)
    if channels != pixel_format.channels:
        raise ValueError(
            f"The model takes images of {quantity(channels, 'channel')}. "
            f"Received: images of {quantity(pixel_format.channels, 'channel')}"
        )
