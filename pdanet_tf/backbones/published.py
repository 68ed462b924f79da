"""VGG16 and the encoders of SegNet as they were published, for networks trained with Caffe.

Their stages are those of the backbones of the same names here. They also output "image", the
normalised image, because the published networks upsample their scores to its size.
"""

from collections.abc import Callable

import keras

from pdanet_tf.backbones.segnet import segnet_encoder
from pdanet_tf.backbones.vgg import VGG16_BLOCKS
from pdanet_tf.base.types import Tensor
from pdanet_tf.layers.caffe import LocalResponseNormalization, ReflectionPadding
from pdanet_tf.layers.initializers import backbone_kernel

_FCN_PADDING = 100
_DILATION_PADDING = 186


def fcn_vgg16(name: str = "vgg16", channels: int = 3) -> keras.Model:
    """Builds the VGG16 of FCN-32s, FCN-16s and FCN-8s (Long et al. 2015).

    Its first convolution has a padding of 100, so that a 7 x 7 convolution without padding can
    follow on small images, too.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        "image" and of the stages "C1" to "C5". The sides of C5 are those of the image plus 198,
        divided by 32 and rounded up.
    """

    def start(x: Tensor) -> Tensor:
        # The first convolution pads by 1 itself.
        return keras.layers.ZeroPadding2D(
            _FCN_PADDING - 1, data_format="channels_last", name="border"
        )(x)

    def pool(x: Tensor, block: int) -> Tensor:
        return keras.layers.MaxPooling2D(
            2, padding="same", data_format="channels_last", name=f"block{block}_pool"
        )(x)

    return _vgg16(name, channels, start, pool)


def dilated_vgg16(name: str = "vgg16", channels: int = 3) -> keras.Model:
    """Builds the VGG16 of the dilated front end (Yu and Koltun 2015).

    The image is reflected by 186 pixels on every side, and at the bottom and at the right until its
    sides are multiples of 8. The convolutions have no padding, and the last two pools are missing.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        "image" and of the stages "C1" to "C5". The sides of C5 are those of the image divided by 8
        and rounded up, plus 24.
    """

    def start(x: Tensor) -> Tensor:
        return ReflectionPadding(_DILATION_PADDING, 8, name="border")(x)

    def pool(x: Tensor, block: int) -> Tensor:
        if block > 3:
            return x
        return keras.layers.MaxPooling2D(2, data_format="channels_last", name=f"block{block}_pool")(
            x
        )

    return _vgg16(name, channels, start, pool, last_dilation=2, padding="valid")


def deeplab_vgg16(
    name: str = "vgg16", channels: int = 3, average_pool: bool = False
) -> keras.Model:
    """Builds the VGG16 of DeepLab (Chen et al. 2015).

    Its pools take the maximum over 3 x 3 cells. The last two of them have stride 1.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.
        average_pool: Whether the average over 3 x 3 cells follows, in which cells outside the
            features count as zeros, as in DeepLab-LargeFOV.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        "image" and of the stages "C1" to "C5". A pool that halves turns n cells into
        n // 2 + 1.
    """

    def pool(x: Tensor, block: int) -> Tensor:
        if block <= 3:
            # Padding with zeros gives the same maxima as padding with minus infinity, behind a
            # ReLU. Caffe also has a window that starts at the last of an even number of cells.
            x = _pad(((1, 2), (1, 2)), f"block{block}_pad")(x)
            return keras.layers.MaxPooling2D(
                3, 2, data_format="channels_last", name=f"block{block}_pool"
            )(x)
        x = keras.layers.MaxPooling2D(
            3, 1, padding="same", data_format="channels_last", name=f"block{block}_pool"
        )(x)
        if block < 5 or not average_pool:
            return x
        return keras.layers.AveragePooling2D(
            3, 1, data_format="channels_last", name="average_pool"
        )(_pad(1, "average_pad")(x))

    return _vgg16(name, channels, None, pool, last_dilation=2)


def _pad(padding: int | tuple[tuple[int, int], ...], name: str) -> keras.layers.Layer:
    return keras.layers.ZeroPadding2D(padding, data_format="channels_last", name=name)


def _vgg16(
    name: str,
    channels: int,
    start: Callable[[Tensor], Tensor] | None,
    pool: Callable[[Tensor, int], Tensor],
    last_dilation: int = 1,
    padding: str = "same",
) -> keras.Model:
    """Builds a VGG16 whose layers have the names of those in `keras.applications.VGG16`."""
    inputs = keras.Input((None, None, channels), dtype="float32", name="normalized_image")
    stages = {"image": keras.layers.Identity(name="image")(inputs)}
    x = inputs if start is None else start(inputs)
    for block, (depth, filters) in enumerate(VGG16_BLOCKS, start=1):
        for index in range(1, depth + 1):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding=padding,
                data_format="channels_last",
                dilation_rate=last_dilation if block == len(VGG16_BLOCKS) else 1,
                activation="relu",
                kernel_initializer=backbone_kernel(),
                name=f"block{block}_conv{index}",
            )(x)
        x = stages[f"C{block}"] = pool(x, block)
    return keras.Model(inputs, stages, name=name)


def segnet_basic_published(name: str = "basic", channels: int = 3) -> keras.Model:
    """Builds SegNet-Basic's encoder with the local response normalisation of the image.

    Args:
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A model as of `pdanet_tf.backbones.segnet.segnet_basic_encoder`.
    """
    norm = LocalResponseNormalization(name="local_response_norm")
    return segnet_encoder(((1, 64),) * 4, 7, name, channels, norm)


def with_image(backbone: keras.Model) -> keras.Model:
    """Returns a backbone that also outputs "image", the normalised image.

    Args:
        backbone: A functional model from normalised images to a dict of stages.

    Returns:
        A functional model of the same layers and the same name.
    """
    image = keras.layers.Identity(name="image")(backbone.input)
    return keras.Model(backbone.input, {"image": image, **backbone.output}, name=backbone.name)
