"""Models of other packages as backbones; strides of stages; positions of features in the image."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import (
    BilinearDeconvolution,
    BilinearResizeLike,
    ConvBatchNorm,
    DenseMaxPooling,
    MaxPoolingWithMask,
    MaxUnpooling,
    PixelNormalization,
    ReflectionPadding,
)
from pdanet_tf.ops.grid import CellGrid

# Size of the image that measures strides. It is so large that the borders cut off by convolutions
# without padding are negligible, and so elongated that features of a fixed size cannot be
# proportional to both sides.
_PROBE = (8192, 32768)
# Operations that move cells in ways that `output_grids` does not follow.
_UNPLACED = {
    "Conv2DTranspose",
    "Cropping2D",
    "GetItem",
    "Pad",
    "Permute",
    "Reshape",
    "Resize",
    "Resizing",
    "Stretched",
    "Transpose",
    "UpSampling2D",
}
# Layers that turn pixels into normalised images.
_RESCALING = (keras.layers.Rescaling, keras.layers.Normalization, PixelNormalization)


def as_backbone(model: keras.Model) -> keras.Model:
    """Turns a model that names its stages into a backbone.

    Args:
        model: A functional model whose output is a dict with keys "C2" to "C5" (or some of
            them). Or a backbone of KerasHub (with `pyramid_outputs`) or of KerasCV (with
            `pyramid_level_inputs`); their finest level decides the names of the stages: "P2" of
            ResNets and "P1" of MiT, both of stride 4, become "C2", and so on. KerasHub's
            `DeepLabV3Backbone` and `SegFormerBackbone` stand for their image encoder, without the
            layers behind it.

    Returns:
        A functional model with a dict of stages. It shares its variables with `model`.

    Raises:
        ValueError: If the model does not name its stages, the strides of its levels fit no stages,
            the model does not take images of a known number
            of channels, or rescales its input, which the segmentation model has already normalised.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"A backbone must be a Keras model. Received: {model!r} ({type(model).__name__})"
        )
    model = _encoder(model)
    stages = _named_stages(model)
    if not stages:
        raise ValueError(
            "A backbone must name its stages: its output must be a dict with keys such as 'C4' "
            "and 'C5', or it must be a backbone of KerasHub or KerasCV. "
            f"Received: {type(model).__name__} {model.name!r}"
        )
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[-1]):
        raise ValueError(
            "A backbone must take images (batch, height, width, channels). "
            f"Received: {model.name!r}, which takes {shape}"
        )
    rescaling = [
        layer.name
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, _RESCALING) and _sees_pixels(layer, shape[-1])
    ]
    if rescaling:
        raise ValueError(
            "A backbone takes normalised images: the segmentation model has subtracted the mean. "
            f"Received: {model.name!r}, which rescales them again in {', '.join(rescaling)}. "
            "Build it without these layers: include_rescaling=False in KerasCV, "
            "include_preprocessing=False in Keras"
        )
    if model.output is stages:
        return model
    return keras.Model(model.input, stages, name=model.name)


def _sees_pixels(layer: keras.layers.Layer, channels: int) -> bool:
    """Returns whether a layer is applied to an image, and not to features inside the network."""
    try:
        return layer.output.shape[-1] == channels
    except (AttributeError, ValueError):  # another layer calls it, or it is called several times
        return True


def _named_stages(model: keras.Model) -> dict[str, Tensor]:
    """Returns the stages that a model names; an empty dict if it names none."""
    if isinstance(model.output, dict) and any(key.startswith("C") for key in model.output):
        return model.output
    if hasattr(model, "pyramid_outputs"):  # KerasHub
        levels = model.pyramid_outputs
    elif hasattr(model, "pyramid_level_inputs"):  # KerasCV
        levels = {
            level: model.get_layer(name).output
            for level, name in model.pyramid_level_inputs.items()
        }
    else:
        return {}
    return _by_stride(model, levels)


def _encoder(model: keras.Model) -> keras.Model:
    """Returns the image encoder of a KerasHub backbone for segmentation, or the model itself."""
    encoder = getattr(model, "image_encoder", None)
    has_levels = hasattr(encoder, "pyramid_outputs") and not hasattr(model, "pyramid_outputs")
    return encoder if has_levels else model


def _by_stride(model: keras.Model, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names levels of a pyramid, such as "P1" to "P4", as stages.

    The stride of the finest level decides its stage: stride 4 is "C2". The others follow by their
    numbers, because dilated stages have a lower stride than their number says.
    """
    strides = stage_strides(keras.Model(model.input, dict(levels)))
    found = ", ".join(f"{level} (stride {strides.get(level, '?')})" for level in levels)
    numbers = {level: int(level[1:]) for level in levels if re.fullmatch(r"P\d+", level)}
    reason = ""
    if numbers.keys() != strides.keys() or not numbers:
        reason = "not all of its levels are features of a number and a stride"
    else:
        finest = min(numbers, key=lambda level: numbers[level])
        shift = (strides[finest] - 1).bit_length() - numbers[finest]
        stages = {level: number + shift for level, number in numbers.items()}
        wrong = [
            level
            for level, stage in stages.items()
            if not 1 <= stage <= 5 or strides[level] > 2**stage or strides[level].bit_count() != 1
        ]
        if not wrong:
            return {f"C{stages[level]}": output for level, output in levels.items()}
        reason = f"{', '.join(wrong)} would be none of C1 to C5, of strides up to 2 to 32"
    raise ValueError(
        f"The levels of {model.name!r} cannot be stages of a backbone: {reason}. Received: {found}"
    )


def stage_strides(backbone: keras.Model) -> dict[str, int]:
    """Returns the stride of every stage: the size of the image divided by that of the stage.

    Args:
        backbone: A functional model from images to a dict of stages.

    Returns:
        Strides by stage, rounded. Stages whose height and width are not proportional to those of
        the image, such as a global average, are left out.
    """
    *sides, channels = backbone.input_shape[1:]
    height, width = (given or probe for given, probe in zip(sides, _PROBE, strict=True))
    strides = {}
    for name, shape in backbone.compute_output_shape((1, height, width, channels)).items():
        if len(shape) != 4:
            continue
        vertical, horizontal = height / shape[1], width / shape[2]
        if max(vertical, horizontal) < 2 * min(vertical, horizontal):
            strides[name] = round(vertical)
    return strides


def output_grids(model: keras.Model, image_grid: CellGrid | None = None) -> Any:
    """Returns where the cells of a model's outputs lie in the image.

    The function follows the receptive fields through the graph: the output of a convolution is
    centred on its taps. It assumes that unknown layers leave every cell in its place.

    Args:
        model: A functional model of one image, whose outputs are features
            `(batch, height, width, channels)`.
        image_grid: Where the cells of the model's input lie; by default they are the pixels of the
            image.

    Returns:
        A `CellGrid` for each output, in the structure of the model's outputs.

    Raises:
        LookupError: If a layer moves the cells in a way that this function cannot follow.
    """
    # Keras has no public function that runs a graph on values other than tensors.
    return model._run_through_graph([image_grid or CellGrid()], _follow)


def _follow(operation: Any) -> Callable[..., Any]:
    """Returns a function from the grids of an operation's inputs to the grids of its outputs."""

    def follow(inputs: Any, *_: Any, **__: Any) -> Any:
        grid = inputs[0] if isinstance(inputs, list | tuple) else inputs
        if isinstance(operation, keras.Model):
            return output_grids(operation, grid)
        if isinstance(operation, BilinearDeconvolution | BilinearResizeLike | MaxUnpooling):
            return inputs[1]
        if isinstance(operation, MaxPoolingWithMask):
            return grid.after(2, 2), grid
        moved = _moved(operation, grid)
        return keras.tree.map_structure(lambda _: moved, operation.output)

    return follow


def _moved(layer: Any, grid: CellGrid) -> CellGrid:
    """Returns the grid of the output of a layer that has one input, on `grid`."""
    if type(layer).__name__ in _UNPLACED:
        raise LookupError(f"{layer.name!r} moves cells in a way that is not known")
    if isinstance(layer, ConvBatchNorm):
        padding = layer.dilation_rate * (layer.kernel_size // 2)
        return grid.after(layer.kernel_size, layer.strides, padding, layer.dilation_rate)
    if isinstance(layer, DenseMaxPooling):
        return grid.after(2, dilation_rate=layer.dilation_rate)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return grid.after(padding=layer.padding[0][0])
    if isinstance(layer, ReflectionPadding):
        return grid.after(padding=layer.padding)
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not kernel:
        return grid
    size, strides = kernel[0], layer.strides[0]
    dilation = getattr(layer, "dilation_rate", (1,))[0]
    # The rows that Keras pads at the top if the height is a multiple of the stride.
    total = max(0, dilation * (size - 1) + 1 - strides) if layer.padding == "same" else 0
    return grid.after(size, strides, total // 2, dilation)
