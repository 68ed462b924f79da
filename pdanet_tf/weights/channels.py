"""Weights for RGB images, adapted to images of other channels."""

import warnings
from collections.abc import Mapping

import keras
import numpy as np

from pdanet_tf.weights.assign import assign_weights


def adapt_kernel(kernel: np.ndarray, channels: int, reverse: bool = False) -> np.ndarray:
    """Returns the kernel of a convolution of RGB images for images of other channels.

    For one channel, the kernels of red, green and blue are added: the convolution of a grey image
    is that of the RGB image with three equal channels. For more channels they are repeated, as
    red, green, blue, red ..., and multiplied by 3 / channels, so that the response to an image of
    equal channels stays the same up to the mix of colours. timm's `adapt_input_conv` and
    segmentation_models.pytorch's `patch_first_conv` do the same.

    Args:
        kernel: `(height, width, 3, filters)`.
        channels: Number of channels.
        reverse: Whether the kernel has the channels blue, green and red.

    Returns:
        `(height, width, channels, filters)`, of the same dtype.
    """
    if reverse:
        kernel = kernel[:, :, ::-1]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return (kernel[:, :, np.arange(channels) % 3] * (3 / channels)).astype(kernel.dtype)


def adapt_arrays(
    model: keras.Model, arrays: Mapping[str, np.ndarray], source: str, reverse: bool = False
) -> dict[str, np.ndarray]:
    """Returns weights for RGB images with the first kernel adapted to the images of a model.

    It warns that the kernel was adapted.

    Args:
        model: A model or a backbone. Its first kernel is that of the convolution of the image.
        arrays: Weights by the paths of the model's variables. They are returned unchanged if the
            first kernel fits, or is not for three channels.
        source: Where they come from, for the warning.
        reverse: See `adapt_kernel`.
    """
    first = next((weight for weight in model.weights if weight.path.endswith("/kernel")), None)
    kernel = None if first is None else arrays.get(first.path)
    if first is None or kernel is None or np.ndim(kernel) != 4 or kernel.shape[2] != 3:
        return dict(arrays)
    channels = first.shape[2]
    if channels == 3:
        return dict(arrays)
    how = "added" if channels == 1 else f"repeated, times 3/{channels}"
    warnings.warn(
        f"The weights in {source} are for RGB images. Their first kernel was adapted to "
        f"{channels} channel{'s' if channels > 1 else ''}: the kernels of red, green and blue are "
        f"{how}",
        stacklevel=3,
    )
    return {**arrays, first.path: adapt_kernel(kernel, channels, reverse)}


def copy_adapted(rgb: keras.Model, model: keras.Model, source: str, reverse: bool) -> None:
    """Copies the weights of a model of RGB images into the same model of other images.

    Args:
        rgb: The model that has the weights.
        model: The model that gets them.
        source: Where the weights come from, for the warning.
        reverse: See `adapt_kernel`.
    """
    arrays = {weight.path: keras.ops.convert_to_numpy(weight) for weight in rgb.weights}
    assign_weights(model, adapt_arrays(model, arrays, source, reverse), source)
