"""`build_model`, which builds every model by name."""

import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pdanet_tf.backbones import as_backbone
from pdanet_tf.base.catalog import FAMILIES
from pdanet_tf.base.fields import convert_field
from pdanet_tf.models.registry import ModelEntry, find_model
from pdanet_tf.models.segmentation import check_input_shape, check_normalization
from pdanet_tf.ops.precision import dtype_policy
from pdanet_tf.weights.channels import copy_adapted
from pdanet_tf.weights.endings import STATE_ENDINGS
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.hub import local_file
from pdanet_tf.weights.imagenet import load_imagenet_weights, weights_source
from pdanet_tf.weights.published import CHECKPOINTS, check_published
from pdanet_tf.weights.sources.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_checkpoint,
    require_architecture,
)


def build_model(
    name: str = "pdanet_resnet18",
    num_classes: int = 150,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    include_preprocessing: bool = True,
    upsample: bool = True,
    aux_head: bool = False,
    weights: str | os.PathLike[str] | Checkpoint | None = None,
    *,
    variant: str | None = None,
    normalization: str | None = None,
    dtype: str | None = None,
    backbone: keras.Model | None = None,
    output_stride: int | None = None,
    stem: str | None = None,
    backbone_weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: Any,
) -> keras.Model:
    """Builds a segmentation model.

    Args:
        name: One of `list_models()`.
        num_classes: Number of classes.
        input_shape: `(height, width, channels)`; None for a side that is known only at run time.
            Three channels are red, green and blue.
        include_preprocessing: If True, the model takes RGB pixels from 0 to 255, of dtype uint8 or
            float, or pixels in the units of `mean` and `std`, and normalises them itself. If False,
            it takes normalised images.
        upsample: If True, the logits have the size of the image. If False, they have the size of
            the head's output (for most models 1/8 of the image, rounded up); training uses this.
            The weights are the same.
        aux_head: Whether the model has an auxiliary head on stage C4, for deep supervision.
        weights: A `.weights.h5` or `.keras` file of a model of the same kind; a `.pth`, `.pt`,
            `.safetensors` or `.npz` file of another package, or what
            `pdanet_tf.weights.sources.checkpoint.read_checkpoint` has read from it, whose variant
            and stem the model then has; or the address of such a file on the Hub, such as
            "hf://owner/name" (extra `hub`); the name of a published checkpoint, one of
            `pdanet_tf.weights.published.CHECKPOINTS` (extra `torch`), or of a model that comes with
            the package, one of `pdanet_tf.weights.shipped.SHIPPED`; or None for random initial
            weights. All weights must fit. For a model with other classes
            or another head, build it without weights and call
            `pdanet_tf.weights.files.load_weights` with `strict=False`. The first kernel of weights
            for RGB images is adapted to other channels, with a warning that says how, except from
            `.weights.h5` files; see `pdanet_tf.weights.channels.adapt_kernel`.
        variant: Name of a variant of the model: the network of another package or publication that
            differs from the one here, such as `"torchvision"`. `pdanet-tf models` lists them. None
            for the variant of a checkpoint of another package given as `weights`, or for the model
            of this package.
        normalization: `"torch"` or `"caffe"`, see `pdanet_tf.layers.PixelNormalization`. None for
            that of the variant, which is `"torch"` unless its documentation says otherwise.
        dtype: A Keras dtype policy, such as `"mixed_bfloat16"`; None for the current policy of
            Keras. Energies, softmax and logits are float32 under every policy.
        backbone: A model that replaces the backbone in `name`. It takes normalised images and
            names its stages, see `pdanet_tf.backbones.as_backbone`.
        output_stride: Stride of the backbone's last stage: 8 (the default; 32 for UPerNet), 16 or
            32, for ResNets, MobileNetV2 and DeepLab on VGG16. It is always 32 for FCN-32s, FCN-16s
            and FCN-8s, and always 8 for the dilated context networks. SegNet has no such option.
        stem: Stem of a ResNet: `"deep"` (the default without ImageNet weights), `"7x7"` (the
            default with them), `"v1c"` or `"v1d"`, see `pdanet_tf.backbones.resnet18`.
        backbone_weights: `"imagenet"` downloads ImageNet weights for the backbone, see
            `pdanet_tf.weights.imagenet.imagenet_weights`. They exist for ResNets with the 7 x 7
            stem (extra `keras-hub`), for ResNets other than ResNet34 with `stem="deep"` (extra
            `torch`), and for VGG16 with `normalization="caffe"`. They are adapted to other channels
            as `weights` are.
        mean: Mean of each channel, in the units of the pixels; None for that of `normalization`.
            Images that have not three channels require `mean` and `std`.
        std: Standard deviation of each channel, likewise.
        **options: Options of the head, such as `dropout`, `pool_scales`, `reduction` and
            `channel_energy`. The docstring of the head describes them.

    Returns:
        A functional Keras model from images `(batch, height, width, channels)` to float32 logits
        `(batch, height, width, num_classes)`; with `aux_head`, to a dict of "logits" and
        "aux_logits".

    Raises:
        ValueError: If there is no such model, an argument has the wrong type or is out of range,
            the model's backbone has no such option, or the weights do not fit.
        TypeError: If the head has no such option; the message lists the options that it has.
        ImportError: If the weights require an extra that is not installed.
        OSError: If a file is missing or cannot be downloaded.

    Example:
        ```python
        model = pdanet_tf.build_model(num_classes=11)
        logits = model(images)  # (batch, height, width, 11)
        ```
    """
    find_model(name)  # raises if there is no such model
    num_classes = convert_field("num_classes", num_classes, int)
    include_preprocessing = convert_field("include_preprocessing", include_preprocessing, bool)
    upsample = convert_field("upsample", upsample, bool)
    aux_head = convert_field("aux_head", aux_head, bool)
    checkpoint = None
    if isinstance(weights, Checkpoint):
        checkpoint, weights = weights, None
    weights = convert_field("weights", weights, str | None)
    if weights is not None and str(local_file(str(weights))).endswith(STATE_ENDINGS):
        checkpoint, weights = read_checkpoint(str(weights)), None
    variant = convert_field("variant", variant, str | None)
    normalization = convert_field("normalization", normalization, str | None)
    choices: dict[str, Any] = {
        "variant": variant,
        "normalization": normalization,
        "output_stride": output_stride,
        "stem": stem,
    }
    if weights in CHECKPOINTS and variant is None and CHECKPOINTS[str(weights)].model == name:
        choices["variant"] = CHECKPOINTS[str(weights)].variant
    if checkpoint is not None:
        found = {"model": name, "num_classes": num_classes, **choices, **options}
        found = require_architecture(checkpoint).complete(checkpoint.file, **found)
        del found["model"], found["num_classes"]
        choices = {key: found.pop(key, None) for key in choices}
        options = found
        if backbone is not None:  # it has the stem and the stride that it has
            choices |= {"output_stride": output_stride, "stem": stem}
    entry = find_model(name, choices["variant"])
    normalization = str(choices["normalization"] or entry.normalization)
    if "dropout" in options:
        options["dropout"] = convert_field("dropout", options["dropout"], float)
    chosen: dict[str, Any] = {
        "output_stride": choices["output_stride"],
        "stem": choices["stem"],
        "backbone_weights": backbone_weights,
    }
    named = [key for key, value in chosen.items() if value is not None]
    if backbone is not None and named:
        raise ValueError(
            f"{', '.join(named)} can be chosen only if build_model builds the backbone. "
            f"Received: {' and '.join([*named, 'backbone'])}"
        )
    _check_options(name, entry, options)
    channels = check_input_shape(input_shape)
    check_normalization(channels, include_preprocessing, mean, std)
    backbone_options = resolve_backbone_options(name, **chosen, variant=choices["variant"])
    source = None
    if backbone_weights is not None:
        _check_normalization(entry, normalization)
        source = weights_source(entry.backbone_name, entry.backbone, backbone_options.get("stem"))
    if weights in CHECKPOINTS:
        check_published(
            str(weights),
            model=name,
            variant=choices["variant"],
            num_classes=num_classes,
            normalization=normalization,
        )
    given = {"mean": mean, "std": std}
    with dtype_policy(dtype):
        if backbone is None:
            backbone = _build_backbone(entry, channels, backbone_options)
            if source is not None and channels == 3:
                load_imagenet_weights(backbone, source)
            elif source is not None:
                rgb = entry.backbone(**backbone_options)
                load_imagenet_weights(rgb, source)
                copy_adapted(rgb, backbone, source.name, normalization == "caffe")
        else:
            backbone = as_backbone(backbone)
        model = entry.family(
            backbone,
            num_classes=num_classes,
            input_shape=input_shape,
            include_preprocessing=include_preprocessing,
            normalization=normalization,
            upsample=upsample,
            aux_head=aux_head,
            **{key: value for key, value in given.items() if value is not None},
            **{**entry.options, **options},
        )
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, strict=True)
    elif weights is not None:
        load_weights(model, str(weights))
    return model


def _build_backbone(entry: ModelEntry, channels: int, options: Mapping[str, Any]) -> keras.Model:
    """Builds the backbone of a model for images of a number of channels."""
    if channels == 3:
        return entry.backbone(**options)
    if not entry.backbone.takes_channels:
        raise ValueError(
            f"The backbone {entry.backbone_name} takes RGB images only, because the function that "
            f"builds it has no parameter 'channels'. Received: input_shape with {channels} channels"
        )
    return entry.backbone(**options, channels=channels)


def resolve_backbone_options(
    name: str,
    *,
    output_stride: int | None = None,
    stem: str | None = None,
    backbone_weights: str | None = None,
    variant: str | None = None,
) -> dict[str, Any]:
    """Returns the options that `build_model` builds the backbone of a model with.

    ImageNet weights determine the stem. A model that is built with the returned options, but
    without `backbone_weights`, has the same layers.

    Args:
        name: Name of the model.
        output_stride: See `build_model`.
        stem: See `build_model`.
        backbone_weights: See `build_model`.
        variant: See `build_model`.

    Returns:
        `output_stride` and `stem`, each only if it was chosen.

    Raises:
        ValueError: If there is no such model, an argument has the wrong type, or the model's
            backbone has no such option.
    """
    entry = find_model(name, variant)
    given = {
        "output_stride": convert_field("output_stride", output_stride, int | None),
        "stem": convert_field("stem", stem, str | None),
        "backbone_weights": convert_field("backbone_weights", backbone_weights, str | None),
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    _check_backbone_options(name, entry, chosen)
    if not _has_choice(entry, "output_stride"):
        chosen.pop("output_stride", None)  # it is what the backbone has anyway
    weights = chosen.pop("backbone_weights", None)
    if weights not in (None, "imagenet"):
        raise ValueError(f"backbone_weights must be 'imagenet' or None. Received: {weights!r}")
    if weights is not None:
        default = next(iter(entry.backbone.weights))
        if default is not None:
            chosen.setdefault("stem", default)
    return chosen


def _check_options(name: str, entry: ModelEntry, options: Mapping[str, Any]) -> None:
    """Raises if the head has no such option, before a backbone is built, which takes seconds."""
    known = entry.option_names
    for option in options:
        if option not in known:
            everything = [*inspect.signature(build_model).parameters, *known]
            near = difflib.get_close_matches(option, everything, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise TypeError(
                f"{name} has no option {option!r}.{hint} Options of its head: {', '.join(known)}"
            )


def _check_backbone_options(name: str, entry: ModelEntry, chosen: Mapping[str, Any]) -> None:
    """Raises if users of `build_model` cannot choose an option of the backbone of this model."""
    for option, value in chosen.items():
        if option == "output_stride" and value == entry.output_stride:
            continue
        if not _has_choice(entry, option):
            always = (
                f"{name} always has output_stride={entry.output_stride}"
                if option == "output_stride" and entry.output_stride is not None
                else f"{name} has no choice of {option}"
            )
            raise ValueError(
                f"{always}. Received: {option}={value!r} with model={name!r}. Models that have a "
                f"choice of {option}: {', '.join(_models_with(option))}"
            )


def _has_choice(entry: ModelEntry, option: str) -> bool:
    """Returns whether users of `build_model` can choose an option of the backbone."""
    if option == "backbone_weights":
        return bool(entry.backbone.weights)
    if option == "output_stride" and entry.output_stride is not None:
        return False
    return option in entry.backbone.options


def _models_with(option: str) -> list[str]:
    """Returns the families that have an option of the backbone, or single models of a family."""
    listed = []
    for family, described in FAMILIES.items():
        names = [f"{family}_{backbone}" for backbone in described.parameters]
        having = [name for name in names if _has_choice(find_model(name), option)]
        listed += [family] if having == names else having
    return listed


def _check_normalization(entry: ModelEntry, normalization: str) -> None:
    """Raises if the backbone's ImageNet weights expect pixels that are normalised otherwise."""
    expected = entry.backbone.normalization
    if normalization != expected:
        raise ValueError(
            f"The ImageNet weights of {entry.backbone_name} expect normalization={expected!r}. "
            f"Received: normalization={normalization!r}"
        )
