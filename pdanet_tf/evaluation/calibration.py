"""Calibration: whether predictions of 80% probability are right in 80% of the cases."""

from dataclasses import dataclass

import numpy as np

BINS = 15  # of equal width, as in the paper


@dataclass(frozen=True)
class Calibration:
    """Pixels by the probability of their predicted class, in bins of equal width.

    Bin i of n holds the probabilities above i / n, up to (i + 1) / n.

    Attributes:
        pixels: Number of pixels in each bin, `(bins,)`, int64.
        correct: Number of pixels in each bin whose prediction is right, `(bins,)`, int64.
        confidence: Sum of the probabilities in each bin, `(bins,)`, float64.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", equations 2 to 4.
    """

    pixels: np.ndarray
    correct: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of_pixels(
        cls, probability: np.ndarray, is_correct: np.ndarray, bins: int = BINS
    ) -> "Calibration":
        """Counts pixels.

        Args:
            probability: The probability of each pixel's predicted class (0 to 1), any shape.
            is_correct: Whether the prediction is right, of the same shape.
            bins: Number of bins.
        """
        probability = probability.ravel().astype("float64")
        index = np.clip(np.ceil(probability * bins).astype("int64") - 1, 0, bins - 1)
        return cls(
            np.bincount(index, minlength=bins),
            np.bincount(index[is_correct.ravel()], minlength=bins),
            np.bincount(index, probability, minlength=bins),
        )

    def __add__(self, other: "Calibration") -> "Calibration":
        return Calibration(
            self.pixels + other.pixels,
            self.correct + other.correct,
            self.confidence + other.confidence,
        )

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right predictions in each bin, `(bins,)`; NaN in an empty bin."""
        return _divide(self.correct, self.pixels)

    @property
    def mean_confidence(self) -> np.ndarray:
        """Mean probability in each bin, `(bins,)`; NaN in an empty bin."""
        return _divide(self.confidence, self.pixels)

    @property
    def expected_error(self) -> float:
        """Expected calibration error (0 to 1).

        It is the distance between accuracy and mean probability of a bin, averaged over all pixels;
        NaN if there are none.
        """
        total = int(self.pixels.sum())
        return float(np.abs(self.correct - self.confidence).sum() / total) if total else np.nan


def _divide(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, values / np.maximum(counts, 1), np.nan)
