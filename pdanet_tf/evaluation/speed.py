"""The time that a model takes for an image, on the processor that computes."""

import math
import os
from dataclasses import dataclass

import keras
import numpy as np

from pdanet_tf.base.processor import gpu_name, processor_name


@dataclass(frozen=True)
class Speed:
    """The time of each image, measured during an evaluation.

    It is the time from the pixels to the label map and the probability of each pixel, one image at
    a time, with resizing. Reading files is not included.

    Attributes:
        seconds: Seconds of each image, `(images,)`, float64. The first ones include compilation.
        processor: Name of the processor, see `describe_device`.
        load: Mean load average of the machine during the evaluation, this process included: the
            number of threads that compute or wait for a core. NaN if not known.
    """

    seconds: np.ndarray
    processor: str
    load: float = math.nan

    @property
    def milliseconds(self) -> float:
        """The median over the images, which the few that include compilation do not change."""
        return float(1000 * np.median(self.seconds))

    def __str__(self) -> str:
        text = f"{self.milliseconds:.0f} ms (median) on {self.processor}"
        return text if math.isnan(self.load) else f"{text}, at a load average of {self.load:.1f}"

    @property
    def quartiles(self) -> tuple[float, float]:
        """Milliseconds below which a quarter and three quarters of the images are."""
        low, high = np.percentile(1000 * self.seconds, (25, 75))
        return float(low), float(high)


def machine_load() -> float:
    """Returns the load average of the last minute; NaN if the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def describe_device() -> str:
    """Returns the name of the processor that Keras computes on: the GPU if there is one."""
    gpus = keras.distribution.list_devices("gpu")
    if not gpus:
        return processor_name()
    return gpu_name() if len(gpus) == 1 else f"one of {len(gpus)} x {gpu_name()}"
