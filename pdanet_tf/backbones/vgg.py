"""VGG16 (Simonyan and Zisserman 2014) without its fully connected layers, which heads add."""

import keras

from pdanet_tf.layers import DenseMaxPooling
from pdanet_tf.layers.initializers import backbone_kernel

VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
# For each output stride: the blocks whose pools do not halve the resolution.
_DENSE_POOLS: dict[int, tuple[int, ...]] = {32: (), 16: (5,), 8: (4, 5)}


def vgg16(
    output_stride: int = 32, late_pools: bool = True, name: str = "vgg16", channels: int = 3
) -> keras.Model:
    """Builds the convolutions and pools of VGG16.

    Args:
        output_stride: Size of the image divided by the size of C5: 32, 16 or 8. Below 32 the last
            pools have stride 1, and the layers behind them are dilated. The features of the
            strided network are then a subset of the features.
        late_pools: Whether the network has the pools that do not halve the resolution. Yu and
            Koltun leave them out.
        name: Name of the model.
        channels: Number of channels of the images.

    Returns:
        A functional model from normalised images `(batch, height, width, channels)` to a dict of
        the stages "C1" to "C5", each the output of the pool of its block, at strides 2, 4, 8, 16
        and 32 (or less), with 64, 128, 256, 512 and 512 channels. Sizes are rounded up. Layers have
        the same names as in `keras.applications.VGG16`.

    Raises:
        ValueError: If there is no such output stride.
    """
    if output_stride not in _DENSE_POOLS:
        raise ValueError(
            f"output_stride must be one of {tuple(_DENSE_POOLS)}. "
            f"Received: output_stride={output_stride}"
        )
    inputs = keras.Input((None, None, channels), dtype="float32", name="normalized_image")
    x, dilation, stages = inputs, 1, {}
    for block, (depth, filters) in enumerate(VGG16_BLOCKS, start=1):
        for index in range(1, depth + 1):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                data_format="channels_last",
                dilation_rate=dilation,
                activation="relu",
                kernel_initializer=backbone_kernel(),
                name=f"block{block}_conv{index}",
            )(x)
        if block in _DENSE_POOLS[output_stride]:
            if late_pools:
                x = DenseMaxPooling(dilation, name=f"block{block}_pool")(x)
            dilation *= 2
        else:
            x = keras.layers.MaxPooling2D(
                2, padding="same", data_format="channels_last", name=f"block{block}_pool"
            )(x)
        stages[f"C{block}"] = x
    return keras.Model(inputs, stages, name=name)
