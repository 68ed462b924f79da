"""A family of models outside the package, as a user would write it."""

from collections.abc import Mapping
from typing import Any

import keras

import pdanet_tf
from pdanet_tf.base.types import Tensor


def myhead_head(
    stages: Mapping[str, Tensor], num_classes: int, dropout: float, filters: int = 64
) -> Tensor:
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="head_conv")(
        stages["C5"]
    )
    x = keras.layers.SpatialDropout2D(dropout, name="dropout")(x)
    return pdanet_tf.layers.Classifier(num_classes, 1, name="classifier")(x)


def tiny_backbone(output_stride: int = 16, name: str = "tiny") -> keras.Model:
    """Builds a backbone whose stages C1 to C5 halve the resolution until `output_stride`."""
    inputs = x = keras.Input((None, None, 3), name="normalized_image")
    stages, stride = {}, 1
    for level in range(1, 6):
        strides = 2 if stride < output_stride else 1
        x = keras.layers.Conv2D(4, 3, strides, padding="same", name=f"conv{level}")(x)
        stages[f"C{level}"], stride = x, stride * strides
    return keras.Model(inputs, stages, name=name)


@pdanet_tf.register_family(pdanet_tf.backbones.RESNETS, myhead_head)
@pdanet_tf.register_family({"tiny": tiny_backbone}, myhead_head, filters=8)
def myhead(backbone: keras.Model, **options: Any) -> keras.Model:
    """My head: one convolution."""
    return pdanet_tf.segmentation_model("myhead", backbone, myhead_head, **options)
