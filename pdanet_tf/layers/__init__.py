"""Layers. They use `keras.ops` only, so that they run on every Keras backend."""

from pdanet_tf.base.lazy import lazy_attributes
from pdanet_tf.layers.aspp import AtrousSpatialPyramidPooling
from pdanet_tf.layers.attention import ChannelAttention, DualAttention, PositionAttention
from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.layers.caffe import (
    BilinearDeconvolution,
    BilinearRescale,
    DeconvolutionSum,
    LocalResponseNormalization,
    ReflectionPadding,
    ScoreMaximum,
)
from pdanet_tf.layers.context import ContextModule, IdentityInitializer
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.depthwise import DepthwiseConvBatchNorm
from pdanet_tf.layers.feature_pyramid import FeaturePyramid
from pdanet_tf.layers.fusion import PyramidFusion
from pdanet_tf.layers.heads import AuxiliaryHead, Classifier, ScoreSum
from pdanet_tf.layers.image_pooling import ImagePooling
from pdanet_tf.layers.normalization import PixelNormalization, pixel_mean
from pdanet_tf.layers.pooling import AdaptiveAveragePooling, DenseMaxPooling
from pdanet_tf.layers.pyramid import AttentionLevel, PyramidDualAttention, PyramidPooling
from pdanet_tf.layers.resize import BilinearResizeLike, Stretched
from pdanet_tf.layers.resized_pyramid import ResizedConvBatchNorm, ResizedPyramidPooling
from pdanet_tf.layers.unpooling import FullPrecisionConvBatchNorm, MaxPoolingWithMask, MaxUnpooling

__all__ = [
    "AdaptiveAveragePooling",
    "AtrousSpatialPyramidPooling",
    "AttentionLevel",
    "AuxiliaryHead",
    "BatchNorm",
    "BilinearDeconvolution",
    "BilinearRescale",
    "BilinearResizeLike",
    "ChannelAttention",
    "Classifier",
    "ContextModule",
    "ConvBatchNorm",
    "DeconvolutionSum",
    "DenseMaxPooling",
    "DepthwiseConvBatchNorm",
    "DualAttention",
    "FeaturePyramid",
    "FullPrecisionConvBatchNorm",
    "IdentityInitializer",
    "ImagePooling",
    "LocalResponseNormalization",
    "MaxPoolingWithMask",
    "MaxUnpooling",
    "PixelNormalization",
    "PositionAttention",
    "PyramidDualAttention",
    "PyramidFusion",
    "PyramidPooling",
    "ReflectionPadding",
    "ResizedConvBatchNorm",
    "ResizedPyramidPooling",
    "ScoreMaximum",
    "ScoreSum",
    "Stretched",
    "pixel_mean",
]

__getattr__ = lazy_attributes(__name__)
