"""What every segmentation model is made of: pixels, backbone, head, logits."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from pdanet_tf.backbones import output_grids, stage_strides
from pdanet_tf.layers import (
    AuxiliaryHead,
    BilinearResizeLike,
    Classifier,
    ConvBatchNorm,
    PixelNormalization,
    pixel_mean,
)
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.ops.grid import CellGrid

NORMALIZED_IMAGE = "normalized_image"
# The grid of the reference's networks. The reference stretches their logits over the image, which
# puts every cell in the middle of its 8 x 8 pixels, half a stride from its receptive field.
_REFERENCE_GRID = CellGrid(8, 0.0)


def segmentation_model(
    family: str,
    backbone: keras.Model,
    head: Callable[..., Any],
    *,
    needed_stages: tuple[str, ...] = ("C5",),
    num_classes: int = 150,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    include_preprocessing: bool = True,
    normalization: str = "torch",
    upsample: bool = True,
    aux_head: bool = False,
    dropout: float = 0.1,
    **head_options: Any,
) -> keras.Model:
    """Joins a backbone and a head to a model from images to logits.

    Args:
        family: Name of the family; the model is called after it and its backbone.
        backbone: A model from normalised images to a dict of stages, those that are needed among
            them, and "C4" for deep supervision.
        head: A function `(stages, num_classes, dropout, **head_options)` from stages to logits.
        needed_stages: Stages that the head uses.
        num_classes: See `build_model`, as for all that follow.
        input_shape: See `build_model`.
        include_preprocessing: See `build_model`.
        normalization: See `build_model`.
        upsample: See `build_model`.
        aux_head: See `build_model`.
        dropout: Rate of the spatial dropout before every classifier.
        **head_options: Options of the head.

    Returns:
        A functional model.

    Raises:
        ValueError: If an argument is out of range, or the backbone's stages do not fit; the
            message names them.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
    if not _is_image_shape(input_shape):
        raise ValueError(
            "input_shape must be (height, width, 3): images have 3 channels, red, green and "
            f"blue, and sides of at least 1, or None. Received: input_shape={input_shape}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: dropout={dropout}")
    needed = {*needed_stages, "C4"} if aux_head else {*needed_stages}
    pixel_mean(normalization)  # raises if there is none
    used_strides(backbone, needed)  # raises if they do not fit
    # The name tells `predict` and the like what the model takes.
    name = "image" if include_preprocessing else NORMALIZED_IMAGE
    images = keras.Input(input_shape, dtype="float32", name=name)
    x = images
    if include_preprocessing:
        x = PixelNormalization(normalization, name="normalization")(x)
    stages = backbone(x)
    logits = head(stages, num_classes=num_classes, dropout=dropout, **head_options)
    outputs = {"logits": logits}
    if aux_head:
        outputs["aux_logits"] = AuxiliaryHead(num_classes, dropout, name="aux_head")(stages["C4"])
    if upsample:
        grids = placements(keras.Model(images, outputs))
        outputs = {
            key: resize_like(value, images, grids.get(key), name=key)
            for key, value in outputs.items()
        }
    return keras.Model(
        images, outputs if aux_head else outputs["logits"], name=f"{family}_{backbone.name}"
    )


def _is_image_shape(shape: Any) -> bool:
    if not isinstance(shape, tuple | list) or len(shape) != 3 or shape[-1] != 3:
        return False
    return all(side is None or (isinstance(side, int) and side > 0) for side in shape[:2])


def find_logits(model: keras.Model, name: str) -> Any:
    """Returns the output that holds the logits of a model, of whatever maker.

    Args:
        model: A model.
        name: What it is called in the message, such as its file.

    Returns:
        A symbolic tensor `(batch, height, width, num_classes)`.

    Raises:
        ValueError: If the model is not functional (or a built `Sequential`), if its input is not
            one image `(batch, height, width, 3)`, or if its output is neither logits nor a dict
            with "logits".
    """
    try:
        inputs = model.inputs
        # The output of a `Sequential` is known only as a list.
        output = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    except (AttributeError, ValueError):  # a subclassed model, or one that was never built
        raise ValueError(
            f"{name}: expected a functional model from images to logits. Received: a "
            f"{type(model).__name__} whose inputs and outputs are not known"
        ) from None
    logits = output.get("logits") if isinstance(output, dict) else output
    shapes: list[Any] = [getattr(tensor, "shape", ()) for tensor in (*inputs, logits)]
    if [len(shape) for shape in shapes] != [4, 4] or shapes[0][-1] != 3 or shapes[1][-1] is None:
        raise ValueError(
            f"{name}: expected a model from an image (batch, height, width, 3) to logits (batch, "
            'height, width, num_classes), or to a dict with such "logits". Received: a model from '
            f"{' and '.join(str(tuple(each.shape)) for each in inputs)} to {_describe(output)}"
        )
    return logits


def _describe(output: Any) -> str:
    """Returns the shapes of what a model returns, in words."""
    if isinstance(output, dict):
        parts = (f"{key!r} {tuple(tensor.shape)}" for key, tensor in output.items())
        return f"a dict of {', '.join(parts)}"
    if isinstance(output, list | tuple):
        return f"a list of {', '.join(str(tuple(tensor.shape)) for tensor in output)}"
    return str(tuple(output.shape))


def placements(model: keras.Model) -> dict[str, CellGrid]:
    """Returns where logits, or stages, are placed in the image: at their receptive fields.

    Args:
        model: A functional model of one image with a dict of outputs.

    Returns:
        A grid for each output. Outputs that the reference's networks have, too, are left out: they
        are stretched over the image. So are all where a layer is not known.
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
        The rest of the model, and where its logits lie in the image; None where they are stretched
        over it.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs[0], name=model.name)
    last = next((layer for layer in model.layers if layer.name == "logits"), None)
    if isinstance(last, BilinearResizeLike):
        return keras.Model(model.input, last.input[0]), last.grid
    outputs = model.output if isinstance(model.output, dict) else {"logits": model.output}
    grids = placements(keras.Model(model.input, outputs))
    return model, grids.get("logits")


def relative_grid(backbone: keras.Model, stage: str, finer: str) -> CellGrid | None:
    """Returns where the cells of a stage lie among those of a finer one; None if that is unknown.

    Args:
        backbone: A model from images to a dict of stages.
        stage: Name of the stage.
        finer: Name of the finer stage, or one of the same stride.
    """
    try:
        grids = output_grids(backbone)
    except LookupError:
        return None
    return grids[stage].relative_to(grids[finer])


def resize_like(features: Any, like: Any, grid: CellGrid | None, name: str) -> Any:
    """Resizes features to the size of an image, or of finer features, in which `grid` places them.

    Without a grid they are stretched.
    """
    place = {} if grid is None else dataclasses.asdict(grid)
    return BilinearResizeLike(**place, name=name)([features, like])


def used_strides(backbone: keras.Model, names: Iterable[str]) -> dict[str, int]:
    """Returns the strides of the stages that a model uses, from C1 to C5, masks last.

    Args:
        backbone: A model from images to a dict of stages.
        names: Names of the stages.

    Raises:
        ValueError: If a stage is missing, if its stride cannot be told, or if a stage is finer
            than one of a lower level.
    """
    missing = set(names).difference(backbone.output)
    if missing:
        raise ValueError(
            f"The backbone {backbone.name!r} has the stages {', '.join(backbone.output)}; the "
            f"model also needs {', '.join(sorted(missing))}"
        )
    known = stage_strides(backbone)
    strides = {name: known[name] for name in sorted(names) if name in known}
    unknown = set(names).difference(strides)
    if unknown:
        raise ValueError(
            "The height and width of a stage must be the image's over its stride. Received: "
            f"backbone {backbone.name!r}, of which {', '.join(sorted(unknown))} is not in "
            "proportion to the image"
        )
    levels = [stride for name, stride in strides.items() if name.startswith("C")]
    if levels != sorted(levels):
        raise misfit(backbone, strides, "no stage may be finer than one of a lower level")
    return strides


def misfit(backbone: keras.Model, strides: Mapping[str, int], expected: str) -> ValueError:
    """Returns the error of a backbone whose strides do not fit: what was expected, and what is."""
    found = ", ".join(f"{name} at stride {stride}" for name, stride in strides.items())
    return ValueError(
        f"The strides of the stages do not fit: {expected}. "
        f"Received: backbone {backbone.name!r} with {found}"
    )


def head_conv(filters: int, name: str) -> ConvBatchNorm:
    """Returns the 3 x 3 convolution that heads begin or end with."""
    return ConvBatchNorm(filters, 3, beta_initializer=head_beta(), name=name)


def hidden_conv(x: Any, filters: int, dropout: float, name: str, **conv: Any) -> Any:
    """A convolution with bias and ReLU, and dropout: what VGG's fully connected layers become."""
    x = keras.layers.Conv2D(
        filters,
        **conv,
        padding="same",
        data_format="channels_last",
        activation="relu",
        kernel_initializer=head_kernel(),
        name=name,
    )(x)
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)


def classify(features: Any, num_classes: int, dropout: float, kernel_size: int = 1) -> Any:
    """Spatial dropout and a convolution to the classes, in float32 in half precision."""
    x = keras.layers.SpatialDropout2D(dropout, data_format="channels_last", name="dropout")(
        features
    )
    return Classifier(
        num_classes,
        kernel_size,
        padding="same",
        kernel_initializer=head_kernel(),
        name="classifier",
    )(x)


def split_pixel_model(model: keras.Model) -> tuple[keras.Model, CellGrid | None]:
    """Splits a model of pixels as `split_upsampling` does.

    Raises:
        ValueError: If the model was built with `include_preprocessing=False`, or is not one from
            images to logits.
    """
    find_logits(model, repr(model.name))
    if model.inputs[0].name == NORMALIZED_IMAGE:
        raise ValueError(
            f"The model {model.name!r} takes normalised images, not pixels: build it with "
            "include_preprocessing=True (the weights are the same)."
        )
    return split_upsampling(model)


def count_classes(model: keras.Model) -> int:
    """Returns the number of classes that a model tells apart.

    Raises:
        ValueError: If the model is not one from images to logits.
    """
    return find_logits(model, repr(model.name)).shape[-1]
