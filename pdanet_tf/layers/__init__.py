"""Layers. They use `keras.ops` only, so that they run on every Keras backend."""

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.layers.aspp import AtrousSpatialPyramidPooling
from pdanet_tf.layers.attention import ChannelAttention, DualAttention, PositionAttention
from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.layers.context import ContextModule, IdentityInitializer
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.fusion import PyramidFusion
from pdanet_tf.layers.heads import AuxiliaryHead, Classifier, ScoreSum
from pdanet_tf.layers.normalization import PixelNormalization, pixel_mean
from pdanet_tf.layers.pooling import AdaptiveAveragePooling, DenseMaxPooling
from pdanet_tf.layers.pyramid import AttentionLevel, PyramidDualAttention, PyramidPooling
from pdanet_tf.layers.resize import BilinearResizeLike, Stretched
from pdanet_tf.layers.unpooling import FullPrecisionConvBatchNorm, MaxPoolingWithMask, MaxUnpooling

__all__ = [
    "AdaptiveAveragePooling",
    "AtrousSpatialPyramidPooling",
    "AttentionLevel",
    "AuxiliaryHead",
    "BatchNorm",
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
    "Stretched",
    "pixel_mean",
]

__getattr__ = lazy_attributes(__name__)
