"""Intervals by a bootstrap over images: of a mean IoU, and of the difference of two models."""

from dataclasses import dataclass

import numpy as np

from pdanet_tf.metrics import mean_iou_of_counts

RESAMPLES = 1000
_SEED = 0
_INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Comparison:
    """The difference of two models' mean IoU (over all classes) on the same images.

    Attributes:
        name: Name of the other model.
        mean_iou: Mean IoU of the other model, 0 to 1.
        difference: Mean IoU of the first model minus that of the other, -1 to 1.
        interval: 95% interval of the difference.
    """

    name: str
    mean_iou: float
    difference: float
    interval: tuple[float, float]


def compare(name: str, first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares two models by a paired bootstrap over images.

    1000 times as many images as there are are drawn with replacement, the same ones for both
    models. The interval lies between the 2.5th and the 97.5th percentile of the differences of the
    mean IoU. The seed is fixed, so the same counts have the same interval.

    Args:
        name: Name of the second model.
        first: Counts of the first model: for each image, the pixels of each class in the
            intersection and in the union of label and prediction, `(images, 2, num_classes)`.
        second: Counts of the second model on the same images in the same order.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    draws = _draw(len(first))
    differences = _resampled(draws, first) - _resampled(draws, second)
    low, high = np.percentile(differences, _INTERVAL)
    whole = [mean_iou_of_counts(*counts.sum(0)) for counts in (first, second)]
    return Comparison(name, float(whole[1]), float(whole[0] - whole[1]), (float(low), float(high)))


def mean_iou_interval(counts: np.ndarray) -> tuple[float, float]:
    """Returns the 95% interval of the mean IoU of one model, by a bootstrap over images.

    The images are drawn as in `compare`. The interval covers the choice of the images, not that of
    the seed of training.

    Args:
        counts: For each image, the pixels of each class in the intersection and in the union of
            label and prediction, `(images, 2, num_classes)`.

    Source:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    low, high = np.percentile(_resampled(_draw(len(counts)), counts), _INTERVAL)
    return float(low), float(high)


def _draw(images: int) -> np.ndarray:
    """Returns how often each image is in each resample, `(resamples, images)`."""
    return np.random.default_rng(_SEED).multinomial(
        images, np.full(images, 1 / images), size=RESAMPLES
    )


def _resampled(draws: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the mean IoU of each resample, `(resamples,)`.

    `draws` holds how often each image is in each resample, `(resamples, images)`.
    """
    weights = draws.astype("float64")
    return mean_iou_of_counts(weights @ counts[:, 0], weights @ counts[:, 1])
