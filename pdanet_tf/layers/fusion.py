"""Convolution over features and a pyramid, without upsampling the pyramid."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.shapes import channels_of
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.conv import ConvBatchNorm
from pdanet_tf.layers.initializers import head_beta
from pdanet_tf.ops.convolution import same_conv
from pdanet_tf.ops.portable import is_plain
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.resize import bilinear_resize, interpolation_matrix


def join_pyramid(features: Tensor, levels: Sequence[Tensor]) -> Tensor:
    """Upsamples levels to the size of the features and concatenates them, the features first.

    Args:
        features: `(batch, height, width, channels)`.
        levels: Any number of tensors `(batch, rows, columns, any)`.

    Returns:
        `(batch, height, width, sum of all channels)`.
    """
    size = tuple(ops.shape(features)[1:3])
    return ops.concatenate([features, *(bilinear_resize(level, size) for level in levels)], axis=-1)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class PyramidFusion(ConvBatchNorm):
    """3 x 3 convolution over features and a pyramid upsampled to them, batch norm, ReLU.

    The result equals the convolution of `join_pyramid(features, levels)`, but neither the upsampled
    levels nor their concatenation is computed. A tap of the kernel mixes only channels and
    upsampling mixes only positions, so their order can be exchanged. With K[y, x] the kernel's tap
    (y, x) for a level p,

        conv3x3(upsample(p)) = sum over taps of  U[y] p K[y, x] U[x]^T,

    where U[y] is the upsampling matrix shifted by the tap, with rows of zeros where the convolution
    reads padding. So the channels are mixed at the few positions of a level, and the result is
    interpolated once.

    Args:
        filters: Number of output channels.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[features, *levels]` with features `(batch, height, width, channels)` and levels
        `(batch, rows, columns, any)` of any size; output `(batch, height, width, filters)`.

    Raises:
        ValueError: If the input is not a list of features and at least one level.

    Example:
        ```python
        levels = PyramidPooling(512, (1, 2, 3, 6), upsample=False)(features)
        x = PyramidFusion(512)([features, *levels])
        ```
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(filters, 3, beta_initializer=head_beta(), **kwargs)

    # The overrides below take a list of shapes, where `ConvBatchNorm` takes one shape. The class is
    # a subclass all the same, for its convolution, batch norm, folding and serialisation.
    def build(self, input_shape: Sequence[Shape]) -> None:  # type: ignore[override]
        """Creates the kernel over all channels, and the batch norm's variables."""
        if len(input_shape) < 2 or not all(
            isinstance(shape, list | tuple) for shape in input_shape
        ):
            raise ValueError(
                "The inputs must be a list of features (batch, height, width, channels) and at "
                "least one level (batch, rows, columns, channels). "
                f"Received: input_shape={input_shape}"
            )
        features = input_shape[0]
        self.conv.build((*features[:-1], sum(map(channels_of, input_shape))))
        self.batch_norm.build(self.compute_output_shape(input_shape))

    def _convolve(self, inputs: Sequence[Tensor]) -> Tensor:
        features, *levels = inputs
        # `split`, because the gradient of each slice would have the size of the whole kernel.
        channels = itertools.accumulate(tensor.shape[-1] for tensor in (features, *levels))
        parts = ops.split(self.conv.kernel, list(channels)[:-1], axis=2)
        mixed = same_conv(features, parts[0])
        return mixed + ops.cast(self._context(features, levels, parts[1:]), mixed.dtype)

    def _context(
        self, features: Tensor, levels: Sequence[Tensor], kernels: Sequence[Tensor]
    ) -> Tensor:
        """Returns the levels' part of the sum.

        Returns:
            `(batch, height, width, filters)`, of at least float32.
        """
        _, height, width, _ = ops.shape(features)
        rows, columns = [], []
        for level, kernel in zip(levels, kernels, strict=True):
            taps = full_precision(self._mix(level, kernel))
            rows.append(self._interpolate_rows(taps, height))
            columns.append(_shifted_interpolation(ops.shape(level)[2], width, taps.dtype))
        return ops.matmul(ops.concatenate(columns, axis=-1), ops.concatenate(rows, axis=2))

    def _mix(self, level: Tensor, kernel: Tensor) -> Tensor:
        """Mixes the channels of a level by every tap, to `(3, 3, batch, n, n, filters)`."""
        batch, rows, columns, channels = ops.shape(level)
        positions = ops.reshape(level, (1, batch * rows * columns, channels))
        if is_plain():  # OpenVINO does not broadcast here
            positions = ops.repeat(positions, 9, axis=0)
        taps = ops.matmul(positions, ops.reshape(kernel, (9, channels, self.filters)))
        return ops.reshape(taps, (3, 3, batch, rows, columns, self.filters))

    def _interpolate_rows(self, taps: Tensor, height: int | Tensor) -> Tensor:
        """Interpolates rows and sums over the rows of taps.

        Returns:
            `(batch, height, 3 * n, filters)`; the third axis is (columns of taps, columns).
        """
        _, _, batch, rows, columns, _ = ops.shape(taps)
        taps = ops.transpose(taps, (2, 0, 3, 1, 4, 5))
        taps = ops.reshape(taps, (batch, 3 * rows, 3 * columns * self.filters))
        taps = ops.matmul(_shifted_interpolation(rows, height, taps.dtype), taps)
        return ops.reshape(taps, (batch, height, 3 * columns, self.filters))

    def compute_output_shape(  # type: ignore[override]
        self, input_shape: Sequence[Shape]
    ) -> Shape:
        """Returns the shape that `call` produces."""
        return super().compute_output_shape(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        config = super().get_config()
        return {key: config[key] for key in ("name", "trainable", "dtype", "filters")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PyramidFusion":
        """Creates the layer; ignores the argument `factored` of earlier versions."""
        return super().from_config({key: config[key] for key in config if key != "factored"})


def _shifted_interpolation(size: int | Tensor, new_size: int | Tensor, dtype: Any) -> Tensor:
    """Returns the interpolation matrices of the three taps, `(new_size, 3 * size)`.

    Each is the interpolation matrix shifted by one position of its outputs: a tap reads the
    interpolated value of the position before, of the position itself, or of the position after.
    Rows of zeros stand for padding.
    """
    matrix = ops.pad(interpolation_matrix(size, new_size, dtype), ((1, 1), (0, 0)))
    return ops.concatenate([matrix[tap : new_size + tap] for tap in range(3)], axis=-1)
