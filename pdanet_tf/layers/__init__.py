"""Layers. They use `keras.ops` only, so that they run on every Keras backend."""

from pdanet_tf.choices import NORMALIZATIONS
from pdanet_tf.layers.aspp import AtrousSpatialPyramidPooling
from pdanet_tf.layers.attention import ChannelAttention, DualAttention, PositionAttention
from pdanet_tf.layers.auxiliary import AuxiliaryHead
from pdanet_tf.layers.context import ContextModule, IdentityInitializer
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.fusion import PyramidFusion
from pdanet_tf.layers.pixels import PixelNormalization, pixel_mean
from pdanet_tf.layers.plain import plain_operations
from pdanet_tf.layers.pooling import AdaptiveAveragePooling, DenseMaxPooling
from pdanet_tf.layers.pyramid import AttentionLevel, PyramidDualAttention, PyramidPooling
from pdanet_tf.layers.resizing import BilinearResizeLike, bilinear_resize
from pdanet_tf.layers.scores import Classifier, ScoreSum
from pdanet_tf.layers.unpooling import (
    FullPrecisionConvBatchNorm,
    MaxPoolingWithMask,
    MaxUnpooling,
)

__all__ = [
    "NORMALIZATIONS",
    "AdaptiveAveragePooling",
    "AtrousSpatialPyramidPooling",
    "AttentionLevel",
    "AuxiliaryHead",
    "BilinearResizeLike",
    "ChannelAttention",
    "Classifier",
    "ContextModule",
    "ConvBatchNorm",
    "DenseMaxPooling",
    "DualAttention",
    "FullPrecisionConvBatchNorm",
    "IdentityInitializer",
    "MaxPoolingWithMask",
    "MaxUnpooling",
    "PixelNormalization",
    "PositionAttention",
    "PyramidDualAttention",
    "PyramidFusion",
    "PyramidPooling",
    "ScoreSum",
    "bilinear_resize",
    "pixel_mean",
    "plain_operations",
]
