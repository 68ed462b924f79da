"""The parts that every segmentation model is made of: normalisation, backbone, head, logits."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones.stages import output_grids, stage_strides
from pdanet_tf.base.choices import check_choice
from pdanet_tf.base.pixel_format import check_statistics
from pdanet_tf.base.types import Tensor
from pdanet_tf.base.wording import quantity
from pdanet_tf.layers import (
    AuxiliaryHead,
    BilinearResizeLike,
    Classifier,
    ConvBatchNorm,
    PixelNormalization,
    Stretched,
    pixel_mean,
)
from pdanet_tf.layers.initializers import head_beta, head_kernel
from pdanet_tf.models.inspection import NORMALIZED_IMAGE, output_placements
from pdanet_tf.ops.grid import CellGrid

_UPSAMPLINGS = ("placed", "stretched", "corners")


def segmentation_model(
    family: str,
    backbone: keras.Model,
    head: Callable[..., Tensor],
    *,
    needed_stages: tuple[str, ...] = ("C5",),
    num_classes: int = 150,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    include_preprocessing: bool = True,
    normalization: str = "torch",
    upsample: bool = True,
    aux_head: bool = False,
    dropout: float = 0.1,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    variant: str | None = None,
    auxiliary: Mapping[str, Any] | None = None,
    upsampling: str = "placed",
    **head_options: Any,
) -> keras.Model:
    """Joins a backbone and a head to a model from images to logits.

    The functions that `register_family` registers call it; see there how to write a family.

    Args:
        family: Name of the family. The model's name is that of the family and of its backbone.
        backbone: A model from normalised images `(batch, height, width, channels)` to a dict of
            stages, each `(batch, height, width, channels)`. It must have the needed stages, and
            "C4" for deep supervision.
        head: A function `(stages, num_classes, dropout, **head_options)` from the stages to logits
            `(batch, height, width, num_classes)`.
        needed_stages: Stages that the head uses.
        num_classes: See `build_model`.
        input_shape: See `build_model`.
        include_preprocessing: See `build_model`.
        normalization: See `build_model`.
        upsample: See `build_model`.
        aux_head: See `build_model`.
        dropout: Rate of the dropout in the head, where it has one, and in the auxiliary head.
        mean: See `build_model`.
        std: See `build_model`.
        variant: Name of the variant that the model is of, which ends its name; None if it is none.
        auxiliary: Options of the auxiliary head, see `pdanet_tf.layers.AuxiliaryHead`; None for its
            defaults, and `dropout`.
        upsampling: How logits get the size of the image: `"placed"`, by their receptive fields,
            except logits on the grid of the reference's networks, which are stretched;
            `"stretched"`, always stretched; or `"corners"`, stretched with aligned corners. See
            `pdanet_tf.layers.BilinearResizeLike`.
        **head_options: Options of the head.

    Returns:
        A functional model, with the inputs and outputs that `build_model` describes.

    Raises:
        ValueError: If an argument is out of range, the backbone's stages do not fit (the message
            names them), or the head returns anything but logits.

    Example:
        ```python
        def tiny_head(stages, num_classes, dropout):
            x = keras.layers.SpatialDropout2D(dropout)(stages["C5"])
            return pdanet_tf.layers.Classifier(num_classes, 1, name="classifier")(x)

        backbone = pdanet_tf.backbones.resnet18()
        model = pdanet_tf.segmentation_model("tiny", backbone, tiny_head, num_classes=11)
        ```
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1. Received: num_classes={num_classes}")
    check_input_shape(input_shape)
    check_choice("upsampling", upsampling, _UPSAMPLINGS)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1). Received: dropout={dropout}")
    if not isinstance(backbone, keras.Model):
        raise ValueError(f"backbone must be a Keras model. Received: backbone={backbone!r}")
    _check_channels(backbone, input_shape[-1], include_preprocessing, mean, std)
    needed = {*needed_stages, "C4"} if aux_head else {*needed_stages}
    pixel_mean(normalization)  # raises if there is none
    used_strides(backbone, needed)  # raises if they do not fit
    # The name tells `split_pixel_model` whether the model takes pixels or normalised images.
    name = "image" if include_preprocessing else NORMALIZED_IMAGE
    images = keras.Input(input_shape, dtype="float32", name=name)
    x = images
    if include_preprocessing:
        x = PixelNormalization(normalization, mean, std, name="normalization")(x)
    stages = backbone(x)
    logits = _apply_head(
        head, stages, family, num_classes=num_classes, dropout=dropout, **head_options
    )
    outputs = {"logits": logits}
    if aux_head:
        chosen = {"dropout": dropout, **(auxiliary or {})}
        outputs["aux_logits"] = AuxiliaryHead(num_classes, **chosen, name="aux_head")(stages["C4"])
    if upsample:
        outputs = _resized(images, outputs, upsampling)
    elif upsampling != "placed":
        outputs = {key: Stretched(name=key)(value) for key, value in outputs.items()}
    parts = (family, backbone.name) if variant is None else (family, backbone.name, variant)
    return keras.Model(images, outputs if aux_head else outputs["logits"], name="_".join(parts))


def _resized(images: Tensor, outputs: dict[str, Tensor], upsampling: str) -> dict[str, Tensor]:
    """Returns logits at the size of the image, see `segmentation_model`."""
    place: Mapping[str, CellGrid] = {}
    if upsampling == "placed":
        place = output_placements(keras.Model(images, outputs))
    corners = upsampling == "corners"
    return {
        key: resize_like(value, images, place.get(key), key, align_corners=corners)
        for key, value in outputs.items()
    }


def _apply_head(
    head: Callable[..., Tensor], stages: Mapping[str, Tensor], family: str, **options: Any
) -> Tensor:
    """Returns the logits of a head, which may be a user's own."""
    try:
        inspect.signature(head).bind(stages, **options)
    except TypeError as error:
        name = getattr(head, "__name__", repr(head))
        raise ValueError(f"The head of {family}, {name}, cannot be called: {error}") from error
    try:
        logits = head(stages, **options)
    except KeyError as error:
        if not error.args or error.args[0] in stages:
            raise
        raise ValueError(
            f"The head of {family} asks for the stage {error.args[0]!r}. The backbone has the "
            f"stages {', '.join(stages)}"
        ) from error
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 4 or shape[-1] != options["num_classes"]:
        received = shape if shape else f"{type(logits).__name__}"
        raise ValueError(
            f"The head of {family} must return logits (batch, height, width, num_classes) with "
            f"num_classes={options['num_classes']}. Received: {received}"
        )
    return logits


def check_input_shape(input_shape: Any) -> int:
    """Returns the number of channels in the shape of an image.

    Raises:
        ValueError: If it is not `(height, width, channels)`.
    """
    if not _is_image_shape(input_shape):
        raise ValueError(
            "input_shape must be (height, width, channels): images have at least 1 channel (RGB "
            "images have 3), and sides of at least 1, or None. "
            f"Received: input_shape={input_shape}"
        )
    return int(input_shape[-1])


def _is_image_shape(shape: Any) -> bool:
    if not isinstance(shape, tuple | list) or len(shape) != 3 or shape[-1] is None:
        return False
    return all(side is None or (isinstance(side, int) and side > 0) for side in shape)


def _check_channels(
    backbone: keras.Model,
    channels: int,
    include_preprocessing: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> None:
    """Raises if the backbone or the normalisation is for another number of channels."""
    if backbone.input_shape[-1] != channels:
        raise ValueError(
            f"The backbone {backbone.name!r} takes images of {backbone.input_shape[-1]} channels. "
            f"Received: input_shape with {channels}"
        )
    check_normalization(channels, include_preprocessing, mean, std)


def check_normalization(
    channels: int,
    include_preprocessing: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> None:
    """Checks that images of a number of channels can be normalised.

    Args:
        channels: Number of channels.
        include_preprocessing: See `build_model`.
        mean: See `build_model`.
        std: See `build_model`.

    Raises:
        ValueError: If `mean` or `std` is missing for other than three channels, has another
            length, or is given for a model that does not normalise.
    """
    check_statistics(mean, std, channels)
    given = [name for name, values in (("mean", mean), ("std", std)) if values is not None]
    if given and not include_preprocessing:
        raise ValueError(f"{' and '.join(given)} can be given only with include_preprocessing=True")
    if include_preprocessing and channels != 3 and len(given) < 2:
        raise ValueError(
            f"Images of {quantity(channels, 'channel')} have no standard normalisation: give mean "
            "and std, one number per channel in the values of the images "
            "(pdanet_tf.data.statistics.channel_statistics measures them), or normalise the images "
            "yourself and set include_preprocessing=False"
        )


def relative_grid(backbone: keras.Model, stage: str, finer: str) -> CellGrid | None:
    """Returns where the cells of a stage lie among those of a finer stage.

    Args:
        backbone: A model from images to a dict of stages.
        stage: Name of the stage.
        finer: Name of the finer stage, or one of the same stride.

    Returns:
        The grid of the stage, with the cells of the finer one as pixels; None if a layer of the
        backbone moves cells in an unknown way.
    """
    try:
        grids = output_grids(backbone)
    except LookupError:
        return None
    return grids[stage].relative_to(grids[finer])


def resize_like(
    features: Tensor,
    like: Tensor,
    grid: CellGrid | None,
    name: str,
    align_corners: bool = False,
) -> Tensor:
    """Resizes features to the size of an image or of finer features.

    Args:
        features: Features `(batch, height, width, channels)`.
        like: An image, or finer features, `(batch, like_height, like_width, any)`.
        grid: Where the cells of `features` lie among those of `like`; None stretches them.
        name: Name of the layer.
        align_corners: How features without a grid are stretched, see
            `pdanet_tf.layers.BilinearResizeLike`.

    Returns:
        Features `(batch, like_height, like_width, channels)`.
    """
    place = {} if grid is None else dataclasses.asdict(grid)
    return BilinearResizeLike(**place, align_corners=align_corners, name=name)([features, like])


def used_strides(backbone: keras.Model, names: Iterable[str]) -> dict[str, int]:
    """Returns the strides of the stages that a model uses, from C1 to C5, masks last.

    Args:
        backbone: A model from images to a dict of stages.
        names: Names of the stages.

    Raises:
        ValueError: If a stage is missing, if its size is not proportional to the image's, or if
            a stage is finer than one of a lower level.
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
            "The height and width of a stage must be those of the image divided by its stride. "
            f"Received: backbone {backbone.name!r}, whose {', '.join(sorted(unknown))} is not "
            "proportional to the image"
        )
    levels = [stride for name, stride in strides.items() if name.startswith("C")]
    if levels != sorted(levels):
        raise strides_error(backbone, strides, "no stage may be finer than one of a lower level")
    return strides


def strides_error(backbone: keras.Model, strides: Mapping[str, int], expected: str) -> ValueError:
    """Returns the error for a backbone whose strides do not fit.

    Args:
        backbone: The backbone.
        strides: Its strides by stage.
        expected: What is expected of them, for the message.
    """
    found = ", ".join(f"{name} at stride {stride}" for name, stride in strides.items())
    return ValueError(
        f"The strides of the stages do not fit: {expected}. "
        f"Received: backbone {backbone.name!r} with {found}"
    )


def head_conv(filters: int, name: str) -> ConvBatchNorm:
    """Returns the 3 x 3 convolution with batch norm that heads begin or end with."""
    return ConvBatchNorm(filters, 3, beta_initializer=head_beta(), name=name)


def hidden_conv(
    x: Tensor, filters: int, dropout: float, name: str, padding: str = "same", **conv: Any
) -> Tensor:
    """Applies a convolution with bias and ReLU, then dropout, in place of a fully connected layer.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        dropout: Rate of the dropout.
        name: Name of the convolution.
        padding: `"same"` or `"valid"`, see `keras.layers.Conv2D`.
        **conv: Other arguments of `keras.layers.Conv2D`.

    Returns:
        Features `(batch, height, width, filters)`.
    """
    x = keras.layers.Conv2D(
        filters,
        **conv,
        padding=padding,
        data_format="channels_last",
        activation="relu",
        kernel_initializer=head_kernel(),
        name=name,
    )(x)
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)


def classify(
    features: Tensor,
    num_classes: int,
    dropout: float,
    kernel_size: int = 1,
    spatial: bool = True,
) -> Tensor:
    """Applies dropout and a convolution to logits, which are float32 in half precision.

    Args:
        features: Features `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout.
        kernel_size: Side of the convolution's kernel.
        spatial: Whether whole channels are dropped, or else single elements.

    Returns:
        Logits, `(batch, height, width, num_classes)`.
    """
    if spatial:
        drop = keras.layers.SpatialDropout2D(dropout, data_format="channels_last", name="dropout")
    else:
        drop = keras.layers.Dropout(dropout, name="dropout")
    return Classifier(
        num_classes,
        kernel_size,
        padding="same",
        kernel_initializer=head_kernel(),
        name="classifier",
    )(drop(features))
