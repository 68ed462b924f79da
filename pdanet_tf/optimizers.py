"""The optimizer of the reference implementation."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor


@keras.saving.register_keras_serializable(package="pdanet_tf")
class SGD(keras.optimizers.SGD):
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
        **kwargs: Arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If `weight_decay` is negative.

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
        **kwargs: Any,
    ) -> None:
        # None disables Keras' own, decoupled decay.
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=None,
            name=name,
            **kwargs,
        )
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0. Received: {weight_decay}")
        self.coupled_weight_decay = weight_decay

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the velocities and records which variables decay."""
        super().build(variables)
        # `update_step` receives the backend's variables, whose names differ.
        self._decays = [decays(variable) for variable in variables]

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: float | Tensor
    ) -> None:
        """Updates one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        if self._decays[index]:
            with _wait_for(step):
                step = step + self.coupled_weight_decay * ops.convert_to_tensor(variable)
        if not self.momentum:
            self.assign_sub(variable, rate * step)
        elif keras.backend.backend() == "tensorflow":
            self._update_in_place(variable, self.momentums[index], rate, step)
        else:
            velocity = self.momentums[index]
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

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {**super().get_config(), "weight_decay": self.coupled_weight_decay}


def _wait_for(gradient: Tensor) -> AbstractContextManager[None]:
    """Delays the operations of a block until the gradient has been computed.

    TensorFlow runs every operation as soon as its inputs exist. It would compute the decay of all
    kernels before the first layer and keep the results in memory through the whole step.
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([gradient])


def decays(variable: keras.Variable) -> bool:
    """Returns whether weight decay applies to a variable: a kernel or the scale of an attention."""
    return variable.name == "kernel" or len(variable.shape) == 0
