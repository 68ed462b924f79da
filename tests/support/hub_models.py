"""Small models of KerasHub and KerasCV with random weights, for tests."""

from types import ModuleType
from typing import Any

import keras
import numpy as np


def randomize(model: keras.Model) -> keras.Model:
    """Draws random values for biases, scales and statistics, which start as zeros and ones."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("bias", "beta", "moving_mean")):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def make_deeplab(
    keras_hub: ModuleType, activation: str | None = None, **converter: Any
) -> keras.Model:
    """Returns a DeepLab v3+ of KerasHub with 4 classes on a small ResNet.

    Args:
        keras_hub: The package.
        activation: Its last activation.
        **converter: Options of the converter of its preprocessor; without any there is none.
    """
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        dilation_rates=[6, 12, 18],
        upsampling_size=8,
    )
    preprocessor = None
    if converter:
        preprocessor = keras_hub.models.DeepLabV3ImageSegmenterPreprocessor(
            keras_hub.layers.DeepLabV3ImageConverter(**converter)
        )
    return randomize(
        keras_hub.models.DeepLabV3ImageSegmenter(
            backbone=backbone, num_classes=4, activation=activation, preprocessor=preprocessor
        )
    )


def make_mit(keras_hub: ModuleType) -> keras.Model:
    """Returns a small MiT of KerasHub for images of 64 x 64."""
    return keras_hub.models.MiTBackbone(
        layerwise_depths=[1, 1, 1, 1],
        image_shape=(64, 64, 3),
        hidden_dims=[8, 16, 24, 32],
        num_layers=4,
        layerwise_num_heads=[1, 1, 2, 2],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
    )


def make_cv_mit(keras_cv: ModuleType, include_rescaling: bool) -> keras.Model:
    """Returns a small MiT of KerasCV for images of 64 x 64."""
    return keras_cv.models.MiTBackbone(
        include_rescaling=include_rescaling,
        depths=[1, 1, 1, 1],
        input_shape=(64, 64, 3),
        embedding_dims=[8, 16, 20, 32],
    )
