"""Boundary IoU: the IoU of the pixels near the contours of a class."""

import math

import numpy as np

DIAGONAL_SHARE = 0.02  # as in the paper


def boundary_counts(
    label: np.ndarray, prediction: np.ndarray, num_classes: int, void_label: int
) -> np.ndarray:
    """Counts the pixels near the contours of each class of an image.

    The region of a class is reduced to its pixels within d pixels of the region's contour, in the
    label map and in the prediction. d is 2% of the image's diagonal, rounded, at least 1. Distance
    is that of erosion by a 3 x 3 square, repeated d times: a pixel stays if the square of 2d + 1
    pixels around it contains another class or reaches beyond the image. Unlabelled pixels are
    unlabelled in the prediction, too, so a contour beside them counts equally on both sides.

    The boundary IoU of a class over several images is the sum of their intersections divided by the
    sum of their unions: an average over pixels, as the IoU is.

    Args:
        label: The label map, `(height, width)`, integers.
        prediction: The predicted classes, `(height, width)`, integers.
        num_classes: Number of classes.
        void_label: The label of unlabelled pixels.

    Returns:
        Pixels in the intersection and in the union of the two reduced regions, one row each,
        `(2, num_classes)`, int64.

    Source:
        Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
        equation 1, and the erosion of its published code.
    """
    distance = max(1, round(DIAGONAL_SHARE * math.hypot(*label.shape)))
    prediction = np.where(label == void_label, void_label, prediction)
    sides = []
    for labels in (label, prediction):
        is_class = (labels >= 0) & (labels < num_classes)
        sides.append(np.where(is_class & _is_near_contour(labels, distance), labels, num_classes))
    first, second = sides
    both = np.where(first == second, first, num_classes)
    count_both, count_first, count_second = (
        np.bincount(side.ravel(), minlength=num_classes + 1)[:num_classes]
        for side in (both, first, second)
    )
    return np.stack([count_both, count_first + count_second - count_both])


def _is_near_contour(labels: np.ndarray, distance: int) -> np.ndarray:
    """Returns where the square of 2 * distance + 1 pixels contains two values or leaves the map."""
    outside = int(labels.min()) - 1
    padded = np.pad(labels, distance, constant_values=outside)
    lowest, highest = padded, padded
    for axis in (0, 1):
        lowest = _running(np.minimum, lowest, 2 * distance + 1, axis)
        highest = _running(np.maximum, highest, 2 * distance + 1, axis)
    return lowest != highest


def _running(extreme: np.ufunc, values: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Returns the extreme of each `width` consecutive values along an axis.

    The windows double in width, so the number of steps is the logarithm of `width`.
    """
    values, covered = np.moveaxis(values, axis, 0), 1
    while covered < width:
        step = min(covered, width - covered)
        values = extreme(values[:-step], values[step:])
        covered += step
    return np.moveaxis(values, 0, axis)
