"""The cases that a benchmark times."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from pdanet_tf.base.choices import BACKENDS, BENCHMARK_TASKS, check_precision
from pdanet_tf.models.registry import find_model

NUM_CLASSES = 150


@dataclass(frozen=True)
class Case:
    """One case of a benchmark.

    Attributes:
        model: One of `pdanet_tf.list_models()`.
        task: "predict", from normalised images to logits at the stride of the features, or
            "train", a whole training step with SGD.
        size: (height, width) of the images in pixels.
        batch_size: Number of images.
        precision: Dtype policy of the model, one of `pdanet_tf.base.choices.PRECISIONS`, which
            says what each name means; to train, one of its `TRAINING_PRECISIONS`.
        backend: Keras' backend.

    Raises:
        ValueError: If a value is not one of those named, or a number is below 1.
    """

    model: str = "pdanet_resnet18"
    task: str = "predict"
    size: tuple[int, int] = (304, 400)
    batch_size: int = 1
    precision: str = "float32"
    backend: str = "tensorflow"

    def __post_init__(self) -> None:
        for name, known in (("task", BENCHMARK_TASKS), ("backend", BACKENDS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        check_precision(self.precision, training=self.task == "train")
        find_model(self.model)  # raises an error if there is no such model
        if min(*self.size, self.batch_size) < 1:
            raise ValueError(
                "Sides and batch_size must be at least 1. "
                f"Received: size={self.size}, batch_size={self.batch_size}"
            )

    @property
    def compute_dtype(self) -> str:
        """The dtype that the model computes in: "float32", "bfloat16" or "float16"."""
        return self.precision.removeprefix("mixed_")

    @functools.cache  # noqa: B019 (a case lives as long as its process)
    def batch(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns random images, `(batch_size, *size, 3)`, and their labels at 1/8 of the size."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((self.batch_size, *size, 3)).astype("float32")
        height, width = (math.ceil(side / 8) for side in size)
        return images, rng.integers(0, NUM_CLASSES, (self.batch_size, height, width), "int32")
