"""Refinement of any model's probabilities by a fully connected conditional random field (CRF)."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdanet_tf.base.arrays import check_image
from pdanet_tf.base.fields import check_fields

# A probability of zero would have an infinite energy.
_SMALLEST_PROBABILITY = 1e-8


@dataclass(frozen=True)
class CRFParameters:
    """Parameters of the CRF: the number of updates, and weights and widths of its two kernels.

    The defaults are those published for the CRF of DeepLab v2 with ResNet-101 on PASCAL VOC
    (arXiv:1606.00915). They suit images of about 500 pixels; other data may need other values.

    Attributes:
        iterations: Mean-field updates.
        bilateral_weight: Weight of the appearance kernel, which connects pixels of similar colour.
        bilateral_position_std: Its standard deviation over positions, in pixels.
        bilateral_color_std: Its standard deviation over colours, in RGB levels (0 to 255).
        gaussian_weight: Weight of the smoothness kernel, which connects nearby pixels of any
            colour.
        gaussian_position_std: Its standard deviation over positions, in pixels.

    Raises:
        ValueError: If a value has another type, or is not positive and finite.
    """

    iterations: int = 10
    bilateral_weight: float = 4.0
    bilateral_position_std: float = 67.0
    bilateral_color_std: float = 3.0
    gaussian_weight: float = 3.0
    gaussian_position_std: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in dataclasses.asdict(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite. Received: {name}={value}")


def dense_crf(
    image: np.ndarray, probabilities: np.ndarray, parameters: CRFParameters | None = None
) -> np.ndarray:
    """Refines probabilities so that nearby pixels of similar colour tend to get the same class.

    It approximates, by mean field, the distribution exp(-E(x)) over label maps x. Pixel i has the
    position p_i, the colour I_i and the given probabilities P_i:

        E(x) = sum_i -log P_i(x_i) + sum_{i<j} [x_i != x_j] (w1 k1(i, j) + w2 k2(i, j))
        k1(i, j) ~ exp(-|p_i - p_j|^2 / (2 sa^2) - |I_i - I_j|^2 / (2 sb^2))
        k2(i, j) ~ exp(-|p_i - p_j|^2 / (2 sg^2))

    where w1, sa and sb are the bilateral weight and standard deviations (positions, colours), and
    w2 and sg the Gaussian ones. Krähenbühl's own code, which this function runs, differs from the
    formula in the papers in two points:

    - Each kernel is normalised: k(i, j) is the exponential divided by sqrt(n_i n_j), where n_i is
      the sum of pixel i's exponentials. So w1 and w2 are the weight of all neighbours together,
      whatever the size of the image. His code from 2011 divides by n_i alone. The square root,
      introduced in 2013, makes k symmetric, as the energy requires.
    - A pixel is one of its own neighbours.

    The sums over all pairs of pixels are computed by filtering on a permutohedral lattice, which
    approximates the Gaussians. Compared with exact sums on small images, probabilities differ by
    less than 0.02 on average; single pixels between two classes can change their class.

    Args:
        image: `(height, width, 3)`, uint8, RGB.
        probabilities: `(height, width, num_classes)`, float32, at the image's size; they sum to 1
            over the classes. `Predictor.probabilities` returns such arrays.
        parameters: Weights and widths of the kernels; DeepLab v2's by default.

    Returns:
        The refined probabilities, `(height, width, num_classes)`, float32.

    Raises:
        ImportError: If pydensecrf2 is not installed (extra `crf`).
        ValueError: If an array has another shape or dtype, or the probabilities do not sum to 1.

    Example:
        ```python
        image = read_image("photo.jpg")
        refined = dense_crf(image, Predictor(model).probabilities(image))
        label_map = refined.argmax(-1)
        ```

    Source: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials" (arXiv:1210.5644), and their code, through pydensecrf.
    """
    _check(image, probabilities)
    densecrf = import_densecrf()
    parameters = parameters or CRFParameters()
    height, width, num_classes = probabilities.shape
    energy = -np.log(np.maximum(probabilities, _SMALLEST_PROBABILITY))
    crf = densecrf.DenseCRF2D(width, height, num_classes)
    crf.setUnaryEnergy(np.ascontiguousarray(energy.reshape(-1, num_classes).T))
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_position_std,
        srgb=parameters.bilateral_color_std,
        # A copy, because pydensecrf refuses read-only arrays, which Pillow returns.
        rgbim=image.copy(order="C"),
        compat=parameters.bilateral_weight,
        normalization=densecrf.NORMALIZE_SYMMETRIC,
    )
    crf.addPairwiseGaussian(
        sxy=parameters.gaussian_position_std,
        compat=parameters.gaussian_weight,
        normalization=densecrf.NORMALIZE_SYMMETRIC,
    )
    refined = np.array(crf.inference(parameters.iterations), "float32")
    return np.ascontiguousarray(refined.T).reshape(probabilities.shape)


def import_densecrf() -> Any:
    """Returns pydensecrf's module, or raises an `ImportError` that names the extra."""
    try:
        from pydensecrf import densecrf
    except ImportError as error:
        raise ImportError(
            "Refinement with a CRF requires pydensecrf2: install pdanet_tf with the extra 'crf'."
        ) from error
    return densecrf


def _check(image: np.ndarray, probabilities: np.ndarray) -> None:
    check_image(image)
    shape = probabilities.shape
    if len(shape) != 3 or shape[:2] != image.shape[:2] or not shape[2]:
        raise ValueError(
            "Probabilities must have the image's height and width, and a last axis of classes: "
            f"({image.shape[0]}, {image.shape[1]}, num_classes). Received: shape={shape}"
        )
    if probabilities.dtype != np.float32:
        raise ValueError(
            f"Probabilities must have dtype float32. Received: dtype={probabilities.dtype}"
        )
    sums = probabilities.sum(-1)
    # Written so that NaN fails the check, too.
    if not (probabilities.min() >= 0 and np.abs(sums - 1).max() < 1e-2):
        raise ValueError(
            "Probabilities must be at least 0 and sum to 1 over the last axis. Received: a minimum "
            f"of {probabilities.min()} and sums of {sums.min()} to {sums.max()}"
        )
