"""The optimizer of the reference implementation."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.optimizers.groups import GroupedOptimizer


@keras.saving.register_keras_serializable(package="pdanet_tf")
class SGD(GroupedOptimizer, keras.optimizers.SGD):
    """Stochastic gradient descent as in PyTorch, which the reference implementation uses.

    It differs from `keras.optimizers.SGD` in two ways:

    - The weight decay is added to the gradient and so enters the momentum
      (`g = gradient + weight_decay * w`). Keras' decay is decoupled
      (`w -= lr * weight_decay * w`), which is ten times weaker at momentum 0.9.
    - The momentum accumulates gradients, not steps (`v = momentum * v + g; w -= lr * v`): when the
      learning rate falls, the new rate also scales earlier gradients.

    Weight decay applies only to convolution kernels (variables named `kernel`) and to the scales of
    attention (scalar variables), not to biases and batch norm. The name and the shape of a variable
    decide this, so it also holds after saving and loading.

    Args:
        learning_rate: A number or a schedule.
        momentum: Factor by which the previous velocity is multiplied.
        nesterov: Whether to use Nesterov momentum.
        weight_decay: Factor of the weight decay.
        name: Name of the optimizer.
        rate_factors: Factors of the learning rate, by the name of a layer: the first part of the
            paths of its variables. Other variables have the factor 1.
        decay_attention_scales: Whether the scales of attention decay, too.
        **kwargs: Arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If `weight_decay` is negative, a factor is not above 0, or a layer that
            `rate_factors` names has no variables that are trained.

    Example:
        ```python
        steps = 20 * 5000
        schedule = keras.optimizers.schedules.PolynomialDecay(1e-2, steps, 0.0, power=0.9)
        model.compile(SGD(schedule, momentum=0.9, weight_decay=1e-4), loss)
        ```
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-2,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 1e-4,
        name: str = "sgd",
        rate_factors: Mapping[str, float] | None = None,
        decay_attention_scales: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            weight_decay,
            rate_factors,
            decay_attention_scales,
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            name=name,
            **kwargs,
        )

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: float | Tensor
    ) -> None:
        """Updates one variable."""
        rate = self.group_rate(variable, learning_rate)
        step = self.add_decay(gradient, variable)
        if not self.momentum:
            self.assign_sub(variable, rate * step)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        if keras.backend.backend() == "tensorflow":
            self._update_in_place(variable, velocity, rate, step)
        else:
            self.assign(velocity, self.momentum * ops.convert_to_tensor(velocity) + step)
            step = step + self.momentum * velocity if self.nesterov else velocity
            self.assign_sub(variable, rate * ops.convert_to_tensor(step))

    def _update_in_place(
        self, variable: keras.Variable, velocity: keras.Variable, rate: Tensor, step: Tensor
    ) -> None:
        """Updates the velocity and the variable with TensorFlow's operation, without copies."""
        import tensorflow as tf

        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=rate,
            grad=step,
            momentum=ops.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )
