"""FCN-32s, FCN-16s and FCN-8s (Long et al. 2015, "Fully Convolutional Networks")."""

import itertools
from collections.abc import Mapping
from typing import Any

import keras

from pdanet_tf.backbones.registry import VGG16
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import Classifier, ScoreSum
from pdanet_tf.layers.initializers import head_kernel
from pdanet_tf.models.registry import register_family
from pdanet_tf.models.segmentation import (
    hidden_conv,
    relative_grid,
    resize_like,
    segmentation_model,
    used_strides,
)
from pdanet_tf.ops.grid import CellGrid


def fcn_vgg_head(
    stages: Mapping[str, Tensor],
    num_classes: int,
    dropout: float,
    skips: Mapping[str, CellGrid | None],
) -> Tensor:
    """Applies VGG's fully connected layers as convolutions, and adds the scores of finer stages.

    The scores are upsampled bilinearly, as by the fixed deconvolutions of the published networks.
    The classifiers of finer stages start at zero, so a new FCN-8s predicts the same as FCN-32s.

    Args:
        stages: The stages of the backbone. The head uses C5 and the skips, each
            `(batch, height, width, channels)`.
        num_classes: Number of classes.
        dropout: Rate of the dropout after both layers.
        skips: The finer stages whose scores are added, coarsest first. The value of each is the
            grid of the preceding, coarser stage, in units of the cells of this stage.

    Returns:
        Logits at the size of the finest stage, `(batch, height, width, num_classes)`.
    """
    x = hidden_conv(stages["C5"], 4096, dropout, "fc6", kernel_size=7)
    x = hidden_conv(x, 4096, dropout, "fc7", kernel_size=1)
    scores = _score(x, num_classes, head_kernel(), "classifier")
    for skip, grid in skips.items():
        finer = _score(stages[skip], num_classes, "zeros", f"{skip.lower()}_classifier")
        scores = resize_like(scores, finer, grid, name=f"{skip.lower()}_upsample")
        scores = ScoreSum(name=f"{skip.lower()}_sum")([scores, finer])
    return scores


def _score(x: Tensor, num_classes: int, initializer: Any, name: str) -> Tensor:
    return Classifier(num_classes, 1, kernel_initializer=initializer, name=name)(x)


def _fcn(
    family: str,
    backbone: keras.Model,
    skips: tuple[str, ...],
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    stages = ("C5", *skips)
    used_strides(backbone, stages)  # raises if they do not fit
    grids = [relative_grid(backbone, *pair) for pair in itertools.pairwise(stages)]
    return segmentation_model(
        family,
        backbone,
        fcn_vgg_head,
        needed_stages=stages,
        skips=dict(zip(skips, grids, strict=True)),
        dropout=dropout,
        **options,
    )


@register_family({"vgg16": VGG16}, fcn_vgg_head, output_stride=32)
def fcn32s(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-32s: VGG16's fully connected layers as convolutions."""
    return _fcn("fcn32s", backbone, (), **options)


@register_family({"vgg16": VGG16}, fcn_vgg_head, output_stride=32)
def fcn16s(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-16s: FCN-32s with the scores of C4 added."""
    return _fcn("fcn16s", backbone, ("C4",), **options)


@register_family({"vgg16": VGG16}, fcn_vgg_head, output_stride=32)
def fcn8s(backbone: keras.Model, **options: Any) -> keras.Model:
    """FCN-8s: FCN-16s with the scores of C3 added."""
    return _fcn("fcn8s", backbone, ("C4", "C3"), **options)
