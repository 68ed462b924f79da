"""Layers of networks that were trained with Caffe, and that Keras lacks."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.fields import convert_field
from pdanet_tf.base.types import Shape, Tensor
from pdanet_tf.layers.arguments import check_positive
from pdanet_tf.layers.heads import FullPrecision
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.precision import full_precision
from pdanet_tf.ops.resize import bilinear_rescale, bilinear_resize

_LARGEST_DENOMINATOR = 64  # of a scale, so that positions in an image are exact integers


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearDeconvolution(FullPrecision, keras.layers.Layer):
    """Upsamples scores by a transposed convolution with a fixed bilinear kernel, and crops them.

    The kernel has sides of 2 * `stride`. Unlike bilinear resizing, the result fades to zero within
    one stride before the first and after the last cell.

    Args:
        stride: Stride of the transposed convolution, an even number.
        crop: Number of rows and columns that are cropped at the top and at the left. At the bottom
            and at the right, everything beyond the image is cropped.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[scores, image]` with scores `(batch, height, width, channels)` and an image
        `(batch, image_height, image_width, any)`; output
        `(batch, image_height, image_width, channels)`, float32 in half precision.

    Raises:
        ValueError: If `stride` is odd or below 2, or `crop` is negative.

    Source: the layers `upscore`, `upscore16`, `upscore8` and the crops behind them of Long et al.
    2015, "Fully Convolutional Networks".
    """

    def __init__(self, stride: int, crop: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = check_positive("stride", stride)
        if self.stride % 2:
            raise ValueError(f"stride must be even. Received: stride={stride}")
        self.crop = _check_crop(crop)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Upsamples the scores to the size of the image."""
        scores, image = inputs
        _, height, width, _ = ops.shape(image)
        grid = CellGrid(self.stride, self.stride - 0.5 - self.crop)
        return bilinear_resize(scores, (height, width), grid, extend=False)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape that `call` produces."""
        scores, image = input_shape
        return (scores[0], image[1], image[2], scores[3])

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "stride": self.stride, "crop": self.crop}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class DeconvolutionSum(FullPrecision, keras.layers.Layer):
    """Doubles the resolution of coarse scores as `BilinearDeconvolution` does, and adds finer ones.

    Args:
        crop: Number of rows and columns of the finer scores that are cropped at the top and at the
            left. At the bottom and at the right, everything beyond the doubled scores is cropped.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Inputs `[coarse, fine]` with coarse scores `(batch, height, width, channels)` and fine ones
        `(batch, fine_height, fine_width, channels)`, of at least `2 * height + 2 + crop` rows and
        `2 * width + 2 + crop` columns; output
        `(batch, 2 * height + 2, 2 * width + 2, channels)`, float32 in half precision.

    Raises:
        ValueError: If `crop` is negative.

    Source: the layers `upscore2` and `upscore_pool4` of Long et al. 2015, and the crops and sums
    behind them.
    """

    def __init__(self, crop: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crop = _check_crop(crop)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Doubles the first scores and adds the cropped second ones."""
        coarse, fine = inputs
        _, height, width, _ = ops.shape(coarse)
        rows, columns = 2 * height + 2, 2 * width + 2
        doubled = bilinear_resize(coarse, (rows, columns), CellGrid(2, 1.5), extend=False)
        return doubled + fine[:, self.crop : self.crop + rows, self.crop : self.crop + columns]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Returns the shape that `call` produces."""
        batch, *sides, channels = input_shape[0]
        return (batch, *(None if side is None else 2 * side + 2 for side in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "crop": self.crop}


def _check_crop(crop: int) -> int:
    number: int = convert_field("crop", crop, int)
    if number < 0:
        raise ValueError(f"crop must be at least 0. Received: crop={crop}")
    return number


@keras.saving.register_keras_serializable(package="pdanet_tf")
class BilinearRescale(keras.layers.Layer):
    """Resizes images bilinearly by an exact factor, see `pdanet_tf.ops.resize.bilinear_rescale`.

    Args:
        scale: The factor: a fraction of integers up to 64, such as 0.5 or 0.75.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output
        `(batch, floor(scale * height), floor(scale * width), channels)`.

    Raises:
        ValueError: If `scale` is not such a number above 0.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale: float = convert_field("scale", scale, float)
        self._fraction = Fraction(self.scale).limit_denominator(_LARGEST_DENOMINATOR)
        if self._fraction <= 0 or abs(self._fraction - Fraction(self.scale)) > 1e-9:
            raise ValueError(
                f"scale must be a positive fraction with a denominator of at most "
                f"{_LARGEST_DENOMINATOR}. Received: scale={scale}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Resizes the images."""
        return bilinear_rescale(inputs, self._fraction)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        batch, *sides, channels = input_shape
        scaled = (None if side is None else int(side * self._fraction) for side in sides)
        return (batch, *scaled, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ReflectionPadding(keras.layers.Layer):
    """Extends images by their reflection, so that convolutions without padding keep their size.

    The rows and columns on the edge are not repeated. Images that are smaller than the padding are
    reflected several times.

    Args:
        padding: Number of rows and columns on every side.
        multiple: The bottom and the right also complete the image to sides of a multiple of this.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input `(batch, height, width, channels)`, output `(batch, h, w, channels)` with h and w the
        sides of the image, rounded up to the multiple, and 2 * `padding` more.

    Raises:
        ValueError: If a number is below 1.

    Source: Yu and Koltun 2015; their code calls OpenCV's `copyMakeBorder` with
    `BORDER_REFLECT_101`.
    """

    def __init__(self, padding: int, multiple: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = check_positive("padding", padding)
        self.multiple = check_positive("multiple", multiple)

    def call(self, inputs: Tensor) -> Tensor:
        """Takes the rows, then the columns."""
        _, height, width, _ = ops.shape(inputs)
        rows = ops.take(inputs, self._positions(height), axis=1)
        return ops.take(rows, self._positions(width), axis=2)

    def _positions(self, side: int | Tensor) -> Tensor:
        """Returns which row or column is at each place of the result."""
        places = ops.arange(self._padded(side), dtype="int32") - self.padding
        # The reflections repeat with twice the distance between the first and the last row.
        period = ops.maximum(2 * (side - 1), 1)
        places = places % period
        return ops.minimum(places, period - places)

    def _padded(self, side: int | Tensor) -> int | Tensor:
        return -(-side // self.multiple) * self.multiple + 2 * self.padding

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else self._padded(side) for side in sides), channels)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "padding": self.padding, "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides every channel by `(1 + alpha / size * total) ** beta`.

    The total is the sum of the squares of `size` neighbouring channels around it. Channels outside
    the features count as zeros.

    Args:
        size: Number of channels in the sum, an odd number.
        alpha: See above.
        beta: See above.
        **kwargs: Arguments of `keras.layers.Layer`.

    Shapes:
        Input and output `(batch, height, width, channels)`.

    Raises:
        ValueError: If `size` is even or below 1.

    Source: Krizhevsky et al. 2012, in the form of Caffe's layer `LRN`, which divides alpha by the
    size, unlike the paper and TensorFlow.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any
    ) -> None:
        # Half precision would round pixels before they are squared.
        super().__init__(autocast=False, **kwargs)
        self.size = check_positive("size", size)
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd. Received: size={size}")
        self.alpha: float = convert_field("alpha", alpha, float)
        self.beta: float = convert_field("beta", beta, float)

    def call(self, inputs: Tensor) -> Tensor:
        """Sums the squares, and divides."""
        precise = full_precision(inputs)
        channels, reach = inputs.shape[-1], self.size // 2
        squares = ops.pad(ops.square(precise), ((0, 0), (0, 0), (0, 0), (reach, reach)))
        total = sum(squares[..., start : start + channels] for start in range(self.size))
        scale = ops.power(1 + self.alpha / self.size * total, self.beta)
        return ops.cast(precise / scale, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape that `call` produces."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable(package="pdanet_tf")
class ScoreMaximum(FullPrecision, keras.layers.Maximum):
    """A maximum of scores, with the arguments of Keras' `Maximum`."""
