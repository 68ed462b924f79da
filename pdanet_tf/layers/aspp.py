"""Atrous spatial pyramid pooling (Chen et al. 2017, "Rethinking Atrous Convolution")."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_all_positive, check_positive
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.layers.pooling import AdaptiveAveragePooling
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AtrousSpatialPyramidPooling(keras.layers.Layer):
    """Context from convolutions of several dilation rates and from the whole image.

    The parallel branches are a 1 x 1 convolution, a 3 x 3 convolution for each rate, and a 1 x 1
    convolution of the average over the image. The branches are concatenated and projected by
    another 1 x 1 convolution. Batch norm and ReLU follow every convolution.

    Args:
        filters: Number of channels of each branch and of the output.
        dilation_rates: Distance between the taps of each 3 x 3 convolution, in positions.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.

    Raises:
        ValueError: If `dilation_rates` is not a sequence of integers, is empty, or holds a number
            below 1; or if `filters` is below 1.
    """

    # The batch norm of the image's average has one value per image and channel.
    normalizes_single_values = True

    def __init__(
        self, filters: int = 256, dilation_rates: Sequence[int] = (6, 12, 18), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)
        self.dilation_rates = check_all_positive("dilation_rates", dilation_rates)
        self.pool = AdaptiveAveragePooling(1, dtype=self.dtype_policy, name="pool")
        self.branches = [
            self._conv(1, "branch_0"),
            *(
                self._conv(3, f"branch_{index}", dilation_rate=rate)
                for index, rate in enumerate(self.dilation_rates, start=1)
            ),
        ]
        self.image_branch = self._conv(1, "image_branch")
        self.projection = self._conv(1, "projection")

    def _conv(self, kernel_size: int, name: str, dilation_rate: int = 1) -> ConvBatchNorm:
        return ConvBatchNorm(
            self.filters,
            kernel_size,
            dilation_rate=dilation_rate,
            beta_initializer=head_beta(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: Shape) -> None:
        """Creates all branches and the projection."""
        for branch in self.branches:
            branch.build(input_shape)
        self.image_branch.build(self.pool.compute_output_shape(input_shape))
        self.projection.build((*input_shape[:-1], (len(self.branches) + 1) * self.filters))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Computes the branches, concatenates and projects them."""
        _, height, width, _ = ops.shape(inputs)
        image = self.image_branch(self.pool(inputs), training=training)
        outputs = [branch(inputs, training=training) for branch in self.branches]
        outputs.append(bilinear_resize(image, (height, width)))
        return self.projection(ops.concatenate(outputs, axis=-1), training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "dilation_rates": self.dilation_rates,
        }
