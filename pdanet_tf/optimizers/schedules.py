"""A schedule of the learning rate that Keras lacks: any schedule after a warm-up."""

from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor


@keras.saving.register_keras_serializable(package="pdanet_tf")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that first rises linearly from 0, and then follows another schedule.

    The rate at step s, counted from 0, is `schedule(0) * s / steps` while s < `steps`, and then
    `schedule(s - steps)`. `keras.optimizers.schedules.CosineDecay` has such a warm-up of its own,
    with the same rates; other schedules have none.

    Args:
        schedule: The rate after the warm-up: a number, or a schedule that counts its steps from
            the end of the warm-up.
        steps: Number of steps of the warm-up, at least 1.

    Raises:
        ValueError: If `steps` is less than 1.

    Example:
        ```python
        decay = keras.optimizers.schedules.PolynomialDecay(1e-2, 900, 0.0, power=0.9)
        rates = LinearWarmup(decay, 100)  # 1000 steps in all
        ```
    """

    def __init__(
        self, schedule: float | keras.optimizers.schedules.LearningRateSchedule, steps: int
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be at least 1. Received: steps={steps}")
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: int | Tensor) -> Tensor:
        """Returns the learning rate of a step, a scalar."""
        step = ops.cast(step, "float32")
        rate = self.schedule
        if callable(rate):
            rate = rate(ops.maximum(step - self.steps, 0.0))
        return ops.multiply(rate, ops.minimum(step / self.steps, 1.0))

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        schedule = self.schedule
        if callable(schedule):
            schedule = keras.optimizers.schedules.serialize(schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LinearWarmup":
        """Returns the schedule with a configuration that `get_config` returned."""
        schedule = config["schedule"]
        if isinstance(schedule, dict):
            schedule = keras.optimizers.schedules.deserialize(schedule)
        return cls(schedule, config["steps"])
