"""Branches of atrous spatial pyramids, and depthwise separable convolutions.

Source: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation".
"""

from collections.abc import Sequence

import keras

from pdanet_tf.base.types import Tensor
from pdanet_tf.layers import BatchNorm, ConvBatchNorm, ImagePooling
from pdanet_tf.layers.arguments import check_all_positive
from pdanet_tf.layers.initializers import head_beta, head_kernel


def separable_conv(
    x: Tensor, filters: int, name: str, dilation_rate: int = 1, normalize_between: bool = False
) -> Tensor:
    """Applies a 3 x 3 convolution to each channel, and a 1 x 1 convolution that mixes them.

    Batch norm and ReLU follow the second convolution.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        name: Beginning of the names of the layers.
        dilation_rate: Distance between the taps of the 3 x 3 kernels, in positions.
        normalize_between: Whether batch norm and ReLU also follow the first convolution, as in
            mmsegmentation.

    Returns:
        Features `(batch, height, width, filters)`.
    """
    x = keras.layers.DepthwiseConv2D(
        3,
        padding="same",
        dilation_rate=dilation_rate,
        data_format="channels_last",
        use_bias=False,
        depthwise_initializer=head_kernel(),
        name=f"{name}_depthwise",
    )(x)
    if normalize_between:
        x = BatchNorm(beta_initializer=head_beta(), name=f"{name}_depthwise_norm")(x)
        x = keras.layers.ReLU(name=f"{name}_depthwise_out")(x)
    return ConvBatchNorm(filters, 1, beta_initializer=head_beta(), name=f"{name}_pointwise")(x)


def atrous_branches(
    features: Tensor,
    filters: int,
    dilation_rates: Sequence[int],
    separable: bool,
    normalize_between: bool = False,
) -> list[Tensor]:
    """Applies a 1 x 1 convolution, a 3 x 3 one for each rate, and one to the image's average.

    Args:
        features: Features `(batch, height, width, channels)`.
        filters: Number of channels of each branch.
        dilation_rates: Dilation of each 3 x 3 convolution.
        separable: Whether the 3 x 3 convolutions are separable.
        normalize_between: See `separable_conv`.

    Returns:
        The branches "aspp_branch0", "aspp_branch1", ..., "aspp_image" in this order, each
        `(batch, height, width, filters)`.

    Raises:
        ValueError: If `dilation_rates` is not a sequence of integers, is empty, or holds a number
            below 1.
    """
    branches = [
        ConvBatchNorm(filters, 1, beta_initializer=head_beta(), name="aspp_branch0")(features)
    ]
    for index, rate in enumerate(check_all_positive("dilation_rates", dilation_rates), start=1):
        name = f"aspp_branch{index}"
        if separable:
            branch = separable_conv(features, filters, name, rate, normalize_between)
        else:
            branch = ConvBatchNorm(
                filters, 3, dilation_rate=rate, beta_initializer=head_beta(), name=name
            )(features)
        branches.append(branch)
    return [*branches, ImagePooling(filters, name="aspp_image")(features)]
