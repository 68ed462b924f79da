"""A family of models that train in a moment, with convolutions and batch norm in every stage."""

from collections.abc import Mapping
from typing import Any

import keras

import pdanet_tf
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import Classifier, ConvBatchNorm


def tiny_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, filters: int = 8, rate: int = 1
) -> Tensor:
    x = ConvBatchNorm(filters, 3, dilation_rate=rate, name="head_conv")(stages["C3"])
    x = keras.layers.SpatialDropout2D(dropout, name="dropout")(x)
    return Classifier(num_classes, 1, name="classifier")(x)


def other_head(stages: Mapping[str, Tensor], num_classes: int, dropout: float) -> Tensor:
    x = ConvBatchNorm(16, 1, name="reduction")(stages["C3"])
    return Classifier(num_classes, 1, name="classifier")(x)


def small(name: str = "small") -> keras.Model:
    """Builds a backbone with the stages C1 to C3, at strides 2, 4 and 8."""
    return _backbone(1, name)


def deeper(name: str = "deeper") -> keras.Model:
    """Builds the same backbone with two layers in each stage."""
    return _backbone(2, name)


def _backbone(depth: int, name: str) -> keras.Model:
    inputs = x = keras.Input((None, None, 3), name="normalized_image")
    stages = {}
    for level in range(1, 4):
        for index in range(1, depth + 1):
            strides = 2 if index == 1 else 1
            x = ConvBatchNorm(4 * level, 3, strides, name=f"block{level}_conv{index}")(x)
        stages[f"C{level}"] = x
    return keras.Model(inputs, stages, name=name)


def register() -> None:
    """Registers "tiny_small", "tiny_deeper" and "other_small"."""

    @pdanet_tf.register_family({"small": small, "deeper": deeper}, tiny_head)
    def tiny(backbone: keras.Model, **options: Any) -> keras.Model:
        return pdanet_tf.segmentation_model(
            "tiny", backbone, tiny_head, needed_stages=("C3",), **options
        )

    @pdanet_tf.register_family({"small": small}, other_head)
    def other(backbone: keras.Model, **options: Any) -> keras.Model:
        return pdanet_tf.segmentation_model(
            "other", backbone, other_head, needed_stages=("C3",), **options
        )
