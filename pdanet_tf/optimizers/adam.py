"""Adam and AdamW with PyTorch's steps."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor
from pdanet_tf.optimizers.groups import GroupedOptimizer


class _TorchAdam(GroupedOptimizer, keras.optimizers.Adam):
    """Keras' Adam with PyTorch's epsilon."""

    def _adam_step(self, gradient: Tensor, variable: keras.Variable, rate: float | Tensor) -> None:
        """Updates the moments and the variable, with TensorFlow in place and without copies."""
        if self.amsgrad or keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, rate)
            return
        import tensorflow as tf

        index, dtype = self._get_variable_index(variable), variable.dtype
        step = ops.cast(self.iterations + 1, dtype)
        powers = [ops.power(ops.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2)]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=ops.cast(self.beta_1, dtype),
            beta2=ops.cast(self.beta_2, dtype),
            # TensorFlow adds epsilon to the root of the biased second moment.
            epsilon=self.epsilon * ops.sqrt(1 - powers[1]),
            grad=gradient,
        )


@keras.saving.register_keras_serializable(package="pdanet_tf")
class Adam(_TorchAdam):
    """Adam as `torch.optim.Adam` has it (Kingma and Ba, arXiv:1412.6980, algorithm 1).

    It differs from `keras.optimizers.Adam` in two ways:

    - The weight decay is added to the gradient (`g = gradient + weight_decay * w`), and so enters
      both moments. Keras' decay is decoupled, as that of `AdamW`.
    - `epsilon` is added to the root of the bias-corrected second moment,
      `w -= lr * m' / (sqrt(v') + epsilon)` with `m' = m / (1 - beta_1 ** t)` and
      `v' = v / (1 - beta_2 ** t)`. Keras adds it to the root of the biased one, which in the first
      step makes it 32 times larger at `beta_2=0.999`. With other backends than TensorFlow, and
      with `amsgrad`, it is added as in Keras.

    Weight decay applies only to convolution kernels and to the scales of attention; see
    `pdanet_tf.optimizers.decays`.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the mean of the gradients.
        beta_2: Decay rate of the mean of their squares.
        epsilon: What is added to the denominator.
        weight_decay: Factor of the weight decay.
        name: Name of the optimizer.
        rate_factors: Factors of the learning rate, by the name of a layer: the first part of the
            paths of its variables. Other variables have the factor 1.
        decay_attention_scales: Whether the scales of attention decay, too.
        **kwargs: Arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: If `weight_decay` is negative, a factor is not above 0, or a layer that
            `rate_factors` names has no variables that are trained.

    Example:
        ```python
        model.compile(Adam(1e-3, weight_decay=2e-4), loss)
        ```
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        name: str = "adam",
        rate_factors: Mapping[str, float] | None = None,
        decay_attention_scales: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            weight_decay,
            rate_factors,
            decay_attention_scales,
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            name=name,
            **kwargs,
        )

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: float | Tensor
    ) -> None:
        """Updates one variable."""
        rate = self.group_rate(variable, learning_rate)
        self._adam_step(self.add_decay(gradient, variable), variable, rate)


@keras.saving.register_keras_serializable(package="pdanet_tf")
class AdamW(_TorchAdam):
    """Adam with decoupled weight decay, as `torch.optim.AdamW` has it (arXiv:1711.05101).

    Before the step of `Adam`, a variable is multiplied by `1 - lr * weight_decay`; the moments
    do not see the decay. `keras.optimizers.AdamW` does the same, to all variables; here only
    convolution kernels and the scales of attention decay, see `pdanet_tf.optimizers.decays`.
    `epsilon` is that of PyTorch, see `Adam`.

    Args:
        learning_rate: The same as in `Adam`, like the other arguments.
        beta_1: See `Adam`.
        beta_2: See `Adam`.
        epsilon: See `Adam`.
        weight_decay: Factor of the weight decay.
        name: Name of the optimizer.
        rate_factors: See `Adam`. The decay follows the rate of the variable.
        decay_attention_scales: See `Adam`.
        **kwargs: Arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: As in `Adam`.

    Example:
        ```python
        model.compile(AdamW(6e-5, weight_decay=0.01), loss)
        ```
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        name: str = "adamw",
        rate_factors: Mapping[str, float] | None = None,
        decay_attention_scales: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            weight_decay,
            rate_factors,
            decay_attention_scales,
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            name=name,
            **kwargs,
        )

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: float | Tensor
    ) -> None:
        """Updates one variable."""
        rate = self.group_rate(variable, learning_rate)
        gradient = ops.cast(gradient, variable.dtype)
        self.apply_decoupled_decay(gradient, variable, rate)
        self._adam_step(gradient, variable, rate)
