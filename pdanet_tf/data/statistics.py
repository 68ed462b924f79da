"""Mean and standard deviation of every channel of a data set."""

import numpy as np

from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.dataset import SegmentationDataset

_NO_DEVIATION = 1e-9  # relative to the mean; less is an error of rounding


def channel_statistics(
    dataset: SegmentationDataset, workers: int | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the standard deviation of every channel, over all pixels.

    Each image is read once, and only one per thread is in memory. Sums are float64. Partial
    results are joined as in Chan et al. 1979 (Stanford STAN-CS-79-773, equation 2.1), in the order
    of the images, so that the result does not depend on the number of threads.

    Args:
        dataset: The data set, usually the training split.
        workers: Number of threads that read; None for one per core.

    Returns:
        One mean and one standard deviation (that of the population) per channel, in the values of
        the files. The standard deviation of a channel that has one value everywhere is 1, so that
        normalisation can divide by it.

    Raises:
        DataError: If an image cannot be read.
        ValueError: If the data set has no images.

    Example:
        ```python
        dataset = load_dataset("folder", "train", "my_data", num_classes=3)
        mean, std = channel_statistics(dataset)
        model = pdanet_tf.build_model(num_classes=3, mean=mean, std=std)
        ```
    """
    if not len(dataset):
        raise ValueError("There must be at least one image. Received: an empty data set")

    def of_image(index: int) -> tuple[int, np.ndarray, np.ndarray]:
        image, _ = dataset.read(index)
        axes = (0, 1)
        mean = image.mean(axes, "float64")
        return image.shape[0] * image.shape[1], mean, image.var(axes, "float64")

    results = map_in_threads(of_image, len(dataset), workers)
    count, mean, variance = next(results)
    squares = count * variance  # sum of the squared distances to the mean
    for more, other, variance in results:
        total, distance = count + more, other - mean
        squares += more * variance + distance**2 * (count * more / total)
        mean = mean + distance * (more / total)
        count = total
    deviation = np.sqrt(squares / count)
    deviation[deviation <= _NO_DEVIATION * np.abs(mean)] = 1
    return tuple(mean.tolist()), tuple(deviation.tolist())
