"""The average over the image as context (Liu et al. 2015, "ParseNet")."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.layers.pooling import AdaptiveAveragePooling
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ImagePooling(keras.layers.Layer):
    """Averages an image, and applies a 1 x 1 convolution with batch norm and ReLU.

    Every position of the output has the same values. Decoders concatenate it with features, as the
    branch of the whole image in atrous spatial pyramid pooling.

    Args:
        filters: Number of output channels.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.

    Raises:
        ValueError: If `filters` is below 1.
    """

    # The batch norm has one value per image and channel.
    normalizes_single_values = True

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)
        self.pool = AdaptiveAveragePooling(1, dtype=self.dtype_policy, name="pool")
        self.projection = ConvBatchNorm(
            filters, 1, beta_initializer=head_beta(), dtype=self.dtype_policy, name="projection"
        )

    def build(self, input_shape: Shape) -> None:
        """Creates the convolution."""
        self.projection.build(self.pool.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Averages, convolves, and repeats the result at every position."""
        _, height, width, _ = ops.shape(inputs)
        image = self.projection(self.pool(inputs), training=training)
        return bilinear_resize(image, (height, width))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "filters": self.filters}
