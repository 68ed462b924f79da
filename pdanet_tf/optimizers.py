"""The reference's optimizer and schedule."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pdanet_tf")
class SGD(keras.optimizers.SGD):
    """Stochastic gradient descent as in PyTorch, which the reference trains with.

    It differs from `keras.optimizers.SGD` in two ways:

    - The weight decay is added to the gradient and so passes through the momentum
      (`g = gradient + weight_decay * w`). Keras' is decoupled (`w -= lr * weight_decay * w`),
      which at momentum 0.9 is ten times weaker.
    - The momentum gathers gradients, not steps (`v = momentum * v + g; w -= lr * v`): when the
      learning rate falls, former gradients are scaled by the new rate.

    Only convolution kernels (variables named `kernel`) and the scales of attention (scalar
    variables) decay; biases and batch norm do not. This is read off the variables, so that it
    survives saving and loading.

    Args:
        learning_rate: Number or schedule.
        momentum: Share of the former velocity that is kept.
        nesterov: Whether to look one step ahead.
        weight_decay: Factor of the decay.
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
        learning_rate: Any = 1e-2,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 1e-4,
        name: str = "sgd",
        **kwargs: Any,
    ) -> None:
        # Keras' own (decoupled) decay stays off.
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

    def build(self, variables: Any) -> None:
        """Creates the velocities, and notes which variables decay."""
        super().build(variables)
        # Noted here: `update_step` is handed the backend's variables, whose names differ.
        self._decays = [decays(variable) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        if self._decays[index]:
            with _after(step):
                step = step + self.coupled_weight_decay * ops.convert_to_tensor(variable)
        if not self.momentum:
            self.assign_sub(variable, rate * step)
        elif keras.backend.backend() == "tensorflow":
            self._move_in_place(variable, self.momentums[index], rate, step)
        else:
            velocity = self.momentums[index]
            self.assign(velocity, self.momentum * ops.convert_to_tensor(velocity) + step)
            step = step + self.momentum * velocity if self.nesterov else velocity
            self.assign_sub(variable, rate * ops.convert_to_tensor(step))

    def _move_in_place(self, variable: Any, velocity: Any, rate: Any, step: Any) -> None:
        """Updates velocity and variable by TensorFlow's own operation, without copies of them."""
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


def _after(gradient: Any) -> AbstractContextManager[Any]:
    """Has what follows computed when the gradient is there.

    TensorFlow computes what it can as soon as it can: the decay of all kernels before the first
    layer, and keeps it all through the step.
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([gradient])


def decays(variable: Any) -> bool:
    """Tells whether weight decay acts on a variable: a kernel, or the scale of an attention."""
    return variable.name == "kernel" or len(variable.shape) == 0
