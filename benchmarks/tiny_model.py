"""A model that trains in a moment, for programs that test training and not models.

`pdanet-tf train --import benchmarks.tiny_model --model tiny_three` trains it.
"""

from collections.abc import Mapping
from typing import Any

import keras

import pdanet_tf
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import Classifier, ConvBatchNorm


def three(name: str = "three") -> keras.Model:
    """Builds a backbone of three convolutions with batch norm, C1 to C3, at strides 2, 4 and 8."""
    inputs = x = keras.Input((None, None, 3), name="normalized_image")
    stages = {}
    for level in range(1, 4):
        x = ConvBatchNorm(4 * level, 3, 2, name=f"conv{level}")(x)
        stages[f"C{level}"] = x
    return keras.Model(inputs, stages, name=name)


def head(stages: Mapping[str, Tensor], num_classes: int, dropout: float) -> Tensor:
    """Returns logits at stride 8: a convolution with batch norm, dropout and a classifier."""
    x = ConvBatchNorm(8, 3, name="head_conv")(stages["C3"])
    x = keras.layers.SpatialDropout2D(dropout, name="dropout")(x)
    return Classifier(num_classes, 1, name="classifier")(x)


@pdanet_tf.register_family({"three": three}, head)
def tiny(backbone: keras.Model, **options: Any) -> keras.Model:
    """Builds the model "tiny_three"."""
    return pdanet_tf.segmentation_model("tiny", backbone, head, needed_stages=("C3",), **options)
