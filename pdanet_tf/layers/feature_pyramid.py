"""Feature pyramids (Lin et al. 2017, "Feature Pyramid Networks for Object Detection")."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.ops.resize import bilinear_resize


@keras.saving.register_keras_serializable(package="pdanet_tf")
class FeaturePyramid(keras.layers.Layer):
    """Adds coarse features to finer ones, from the top to the bottom.

    Every stage gets a lateral 1 x 1 convolution. The sum of the coarser stage is stretched over it
    bilinearly and added. The outputs are 3 x 3 convolutions of these sums. All convolutions have
    batch norm and ReLU, as in UPerNet (Xiao et al. 2018). The coarsest features are both the first
    sum and an output, unchanged.

    Args:
        filters: Number of channels of all outputs.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[*stages, top]`, each `(batch, height, width, channels)`, the finest first; top has
        `filters` channels. Outputs: a list of the same heights and widths, with `filters` channels.

    Raises:
        ValueError: If the input is not a list of at least one stage and the top, or the top has
            another number of channels; or if `filters` is below 1.

    Example:
        ```python
        top = np.zeros((1, 4, 5, 512), "float32")
        levels = FeaturePyramid(512)([features, top])
        ```
    """

    def __init__(self, filters: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)

    def _make_conv(self, kernel_size: int, name: str) -> ConvBatchNorm:
        return ConvBatchNorm(
            self.filters,
            kernel_size,
            beta_initializer=head_beta(),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Creates the convolutions of every stage."""
        if (
            len(input_shape) < 2
            or not all(isinstance(shape, list | tuple) for shape in input_shape)
            or channels_of(input_shape[-1]) != self.filters
        ):
            raise ValueError(
                "The inputs must be a list of at least one stage (batch, height, width, channels) "
                f"and the top (batch, height, width, {self.filters}). "
                f"Received: input_shape={input_shape}"
            )
        *stages, _ = input_shape
        self.lateral_convs = [
            self._make_conv(1, f"lateral_{index}") for index in range(len(stages))
        ]
        self.output_convs = [self._make_conv(3, f"output_{index}") for index in range(len(stages))]
        for stage, lateral, output in zip(
            stages, self.lateral_convs, self.output_convs, strict=True
        ):
            lateral.build(stage)
            output.build(lateral.compute_output_shape(stage))

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> list[Tensor]:
        """Sums from the coarsest stage to the finest, and convolves every sum."""
        *stages, total = inputs
        levels = [total]
        for stage, lateral, output in zip(
            reversed(stages), reversed(self.lateral_convs), reversed(self.output_convs), strict=True
        ):
            detail = lateral(stage, training=training)
            _, height, width, _ = ops.shape(detail)
            total = detail + bilinear_resize(total, (height, width))
            levels.insert(0, output(total, training=training))
        return levels

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> list[Shape]:
        """Returns the shapes that `call` produces."""
        return [(*shape[:-1], self.filters) for shape in input_shape]

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "filters": self.filters}
