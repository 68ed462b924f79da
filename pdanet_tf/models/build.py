"""The one door to every model."""

import difflib
import inspect
import os
from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones import RESNETS, as_backbone, vgg16
from pdanet_tf.base.catalog import FAMILIES
from pdanet_tf.base.fields import convert_field
from pdanet_tf.models.registry import ModelEntry, find_model
from pdanet_tf.ops.precision import dtype_policy
from pdanet_tf.weights.files import check_published, load_published, load_weights
from pdanet_tf.weights.imagenet import imagenet_weights
from pdanet_tf.weights.published import CHECKPOINTS

_WITH_IMAGENET_WEIGHTS = (*RESNETS.values(), vgg16)


def build_model(
    name: str = "pdanet_resnet18",
    num_classes: int = 150,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    include_preprocessing: bool = True,
    upsample: bool = True,
    aux_head: bool = False,
    weights: str | os.PathLike[str] | None = None,
    *,
    normalization: str = "torch",
    dtype: str | None = None,
    backbone: keras.Model | None = None,
    output_stride: int | None = None,
    stem: str | None = None,
    backbone_weights: str | None = None,
    **options: Any,
) -> keras.Model:
    """Builds a segmentation model.

    Args:
        name: One of `list_models()`.
        num_classes: Number of classes.
        input_shape: `(height, width, 3)`; None where the size is known only at run time.
        include_preprocessing: With True the model takes RGB pixels from 0 to 255, of dtype uint8
            or float, and normalises them itself; with False it takes normalised images.
        upsample: With True the logits have the size of the image; with False the size of the
            backbone's features (1/8, rounded up), which is what training uses. The weights
            are the same.
        aux_head: Adds deep supervision of stage C4.
        weights: A `.weights.h5` or `.keras` file of a model of the same kind, the name of a
            published checkpoint (one of `pdanet_tf.weights.published.CHECKPOINTS`; extra `torch`),
            or None for random initial weights.
        normalization: `"torch"` or `"caffe"`, see `pdanet_tf.layers.PixelNormalization`.
        dtype: A Keras dtype policy, such as `"mixed_bfloat16"`; None takes the global one.
            Energies, softmax and logits are float32 under every policy.
        backbone: A model to be used in place of the one that the name ends in: one that names
            its stages, see `pdanet_tf.backbones.as_backbone`. It takes normalised images.
        output_stride: Stride of the features that are classified: 8 (the default), 16 or 32, for
            ResNets and for DeepLab on VGG16. FCN-32s to 8s are networks of stride 32, the dilated
            context networks of stride 8; SegNet has no choice.
        stem: `"deep"` (the default, but for ImageNet's weights) or `"7x7"`, see
            `pdanet_tf.backbones.resnet18`; for ResNets.
        backbone_weights: `"imagenet"` downloads the backbone's, see
            `pdanet_tf.weights.imagenet.imagenet_weights`: for ResNets with the 7 x 7 stem
            (extra `keras-hub`), for most of them with `stem="deep"` (extra `torch`), and for
            VGG16 with `normalization="caffe"`.
        **options: Options of the head, such as `dropout`, `pool_scales`, `reduction` and
            `channel_energy`; see the head in the family's file.

    Returns:
        A functional Keras model from images `(batch, height, width, 3)` to float32 logits
        `(batch, height, width, num_classes)`; with `aux_head` to a dict of "logits" and
        "aux_logits".

    Raises:
        ValueError: If there is no such model, an argument has another type or is out of range,
            the model's backbone has no such option, or the weights do not fit.
        TypeError: If the model has no such option; the message lists those that it has.
        OSError: If a file is missing or cannot be downloaded.

    Example:
        ```python
        model = pdanet_tf.build_model(num_classes=11)
        logits = model(images)  # (batch, height, width, 11)
        ```
    """
    entry = find_model(name)
    num_classes = convert_field("num_classes", num_classes, int)
    include_preprocessing = convert_field("include_preprocessing", include_preprocessing, bool)
    upsample = convert_field("upsample", upsample, bool)
    aux_head = convert_field("aux_head", aux_head, bool)
    weights = convert_field("weights", weights, str | None)
    normalization = convert_field("normalization", normalization, str)
    if "dropout" in options:
        options["dropout"] = convert_field("dropout", options["dropout"], float)
    given = {
        "output_stride": convert_field("output_stride", output_stride, int | None),
        "stem": convert_field("stem", stem, str | None),
        "backbone_weights": convert_field("backbone_weights", backbone_weights, str | None),
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if backbone is not None and chosen:
        raise ValueError(
            f"{', '.join(chosen)} is chosen when a backbone is built; here one is given."
        )
    _check_options(name, entry, options)
    _check_backbone_options(name, entry, chosen)
    published = str(weights) if weights in CHECKPOINTS else None
    if published is not None:
        check_published(published, model=name, num_classes=num_classes, normalization=normalization)
    with dtype_policy(dtype):
        backbone = (
            _build_backbone(entry, normalization, **chosen)
            if backbone is None
            else as_backbone(backbone)
        )
        model = entry.family(
            backbone,
            num_classes=num_classes,
            input_shape=input_shape,
            include_preprocessing=include_preprocessing,
            normalization=normalization,
            upsample=upsample,
            aux_head=aux_head,
            **{**entry.options, **options},
        )
    if published is not None:
        load_published(model, published)
    elif weights is not None:
        load_weights(model, weights)
    return model


def _check_options(name: str, entry: ModelEntry, options: Mapping[str, Any]) -> None:
    """Raises before a backbone is built, which takes seconds."""
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
    """Raises if the backbone is not built with an option, or not for the network of this name."""
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
    """Tells whether a model has an option of the backbone."""
    if option == "backbone_weights":
        # A partial function knows what it is of.
        return getattr(entry.backbone, "func", entry.backbone) in _WITH_IMAGENET_WEIGHTS
    if option == "output_stride" and entry.output_stride is not None:
        return False
    return option in entry.backbone_options


def _models_with(option: str) -> list[str]:
    """Returns the families that have an option of the backbone; single models where not all do."""
    listed = []
    for family, described in FAMILIES.items():
        names = [f"{family}_{backbone}" for backbone in described.parameters]
        having = [name for name in names if _has_choice(find_model(name), option)]
        listed += [family] if having == names else having
    return listed


def _build_backbone(
    entry: ModelEntry, normalization: str, backbone_weights: str | None = None, **options: Any
) -> keras.Model:
    if backbone_weights is None:
        return entry.backbone(**options)
    if backbone_weights != "imagenet":
        raise ValueError(
            f"backbone_weights must be 'imagenet' or None. Received: {backbone_weights!r}"
        )
    expected = "caffe" if entry.backbone_name == "vgg16" else "torch"
    if normalization != expected:
        raise ValueError(
            f"The ImageNet weights of {entry.backbone_name} expect normalization={expected!r}. "
            f"Received: normalization={normalization!r}"
        )
    if entry.backbone_name in RESNETS:
        options.setdefault("stem", "7x7")
    backbone = entry.backbone(**options)
    imagenet_weights(backbone, entry.backbone_name)
    return backbone
