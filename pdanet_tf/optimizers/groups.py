"""Groups of variables with their own weight decay and learning rate, as PyTorch has them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from pdanet_tf.base.types import Tensor


class GroupedOptimizer(keras.optimizers.Optimizer):
    """What the optimizers of this package share; a subclass also derives from Keras' optimizer.

    Three things differ from Keras:

    - Weight decay applies only to the variables that `decays` names. Keras' own exclusion from
      the decay is lost when a model is saved.
    - Variables of some layers can have a learning rate of their own (`rate_factors`).
    - With TensorFlow, gradients are first summed over the replicas of a `tf.distribute` strategy
      and then clipped or accumulated. Keras clips the gradients of each replica by their own norm,
      and cannot accumulate under a `MirroredStrategy`, even with one replica. Moving averages
      (`use_ema`) are updated when the weights are; Keras also averages unchanged weights, in
      every step of an accumulation.

    Args:
        weight_decay: Factor of the weight decay.
        rate_factors: Factors of the learning rate, by the name of a layer: the first part of the
            paths of its variables. Other variables have the factor 1.
        decay_attention_scales: Whether the scales of attention decay, too.
        **kwargs: Arguments of Keras' optimizer.

    Raises:
        ValueError: If `weight_decay` is negative, or a factor is not above 0.
    """

    def __init__(
        self,
        weight_decay: float,
        rate_factors: Mapping[str, float] | None,
        decay_attention_scales: bool,
        **kwargs: Any,
    ) -> None:
        # None disables Keras' own, decoupled decay, which applies to all variables.
        super().__init__(weight_decay=None, **kwargs)
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0. Received: {weight_decay}")
        wrong = {name: factor for name, factor in (rate_factors or {}).items() if factor <= 0}
        if wrong:
            raise ValueError(f"rate_factors must be above 0. Received: {wrong}")
        self.group_weight_decay = weight_decay
        self.rate_factors = dict(rate_factors or {})
        self.decay_attention_scales = decay_attention_scales

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the state, and records which variables decay and how fast each learns.

        Raises:
            ValueError: If a layer in `rate_factors` has none of the variables.
        """
        super().build(variables)
        # `update_step` receives the backend's variables, whose names differ.
        self._decays = [decays(variable, self.decay_attention_scales) for variable in variables]
        layers = [variable.path.split("/")[0] for variable in variables]
        unknown = sorted(self.rate_factors.keys() - set(layers))
        if unknown:
            others = f" and {len(unknown) - 1} others" if unknown[1:] else ""
            raise ValueError(
                "rate_factors must name layers with variables that are trained. Received: "
                f"{unknown[0]!r}{others}"
            )
        self._factors = [self.rate_factors.get(layer, 1.0) for layer in layers]

    def group_rate(self, variable: keras.Variable, learning_rate: float | Tensor) -> float | Tensor:
        """Returns the learning rate of a variable, in its dtype."""
        rate = ops.cast(learning_rate, variable.dtype)
        factor = self._factors[self._get_variable_index(variable)]
        return rate if factor == 1 else rate * factor

    def add_decay(self, gradient: Tensor, variable: keras.Variable) -> Tensor:
        """Returns the gradient in the dtype of a variable, with the L2 decay if it has one."""
        gradient = ops.cast(gradient, variable.dtype)
        if not self._decays[self._get_variable_index(variable)]:
            return gradient
        with wait_for(gradient):
            return gradient + self.group_weight_decay * ops.convert_to_tensor(variable)

    def apply_decoupled_decay(
        self, gradient: Tensor, variable: keras.Variable, rate: float | Tensor
    ) -> None:
        """Shrinks a variable that decays by `rate * weight_decay`, once there is its gradient."""
        if self._decays[self._get_variable_index(variable)]:
            with wait_for(gradient):
                step = rate * self.group_weight_decay * ops.convert_to_tensor(variable)
            self.assign_sub(variable, step)

    def averages(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Returns each variable with its moving average.

        The list is empty without `use_ema`, and before the first update, when there are no
        averages.
        """
        if not self.use_ema or not self.built or not ops.convert_to_numpy(self.iterations):
            return []
        pairs = zip(self._trainable_variables, self._model_variables_moving_average, strict=True)
        return list(pairs)

    def get_config(self) -> dict[str, Any]:
        """Returns every argument of the constructor."""
        return {
            **super().get_config(),
            "weight_decay": self.group_weight_decay,
            "rate_factors": dict(self.rate_factors),
            "decay_attention_scales": self.decay_attention_scales,
        }

    def _backend_apply_gradients(
        self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Updates all variables, or adds the gradients to those that are accumulated."""
        clips = self.clipnorm or self.global_clipnorm or self.clipvalue
        is_plain = not (clips or self.gradient_accumulation_steps or self.use_ema)
        if is_plain or keras.backend.backend() != "tensorflow":
            super()._backend_apply_gradients(grads, trainable_variables)
            return
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        grads = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
        variables = [variable.value for variable in trainable_variables]
        if self.gradient_accumulation_steps:
            grads = self._averaged(grads, variables)
        else:
            grads = self._clip_gradients(grads)
        # Not a condition around `merge_call`, which TensorFlow does not allow.
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._update_variables, replica.strategy, grads, variables, self._idle(variables)
        )

    def _idle(self, variables: Sequence[Any]) -> list[Any]:
        """Returns the variables that have no gradient in this step but a moving average."""
        if not self.use_ema:
            return []
        updated = set(map(self._get_variable_index, variables))
        return [
            variable.value
            for index, variable in enumerate(self._trainable_variables)
            if index not in updated
        ]

    def _is_update(self) -> Tensor:
        """Returns whether the present step of an accumulation updates the weights."""
        return (self._iterations + 1) % self.gradient_accumulation_steps == 0

    def _accumulator(self, variable: Any) -> keras.Variable:
        """Returns the sum of the gradients of a variable since the last update."""
        return self._accumulated_gradients[self._get_variable_index(variable)]

    def _averaged(self, grads: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        """Returns clipped mean gradients if the step is an update, else its own gradients."""

        def average() -> list[Tensor]:
            pairs = zip(grads, map(self._accumulator, variables), strict=True)
            sums = (grad + ops.convert_to_tensor(former) for grad, former in pairs)
            return self._clip_gradients([s / self.gradient_accumulation_steps for s in sums])

        return ops.cond(self._is_update(), average, lambda: list(grads))

    def _update_variables(
        self, distribution: Any, grads: list[Any], variables: list[Any], idle: list[Any]
    ) -> None:
        """Updates the variables on all replicas, whose gradients are the same.

        Of the idle variables, it updates only the moving averages.
        """

        def on_each_replica(function: Any, *arguments: Any) -> None:
            for grad, variable in zip(grads, variables, strict=True):
                distribution.extended.update(
                    variable, function, args=(grad, *arguments), group=False
                )

        def update() -> None:
            on_each_replica(self._update_variable, ops.convert_to_tensor(self.learning_rate))
            for variable in idle:
                distribution.extended.update(variable, self._update_average, group=False)

        if self.gradient_accumulation_steps:
            ops.cond(self._is_update(), update, lambda: on_each_replica(self._accumulate))
        else:
            update()

    def _accumulate(self, variable: Any, gradient: Tensor) -> None:
        """Adds the gradient of one variable to its sum on one replica."""
        self.assign_add(self._accumulator(variable), gradient)

    def _update_variable(self, variable: Any, gradient: Tensor, learning_rate: Tensor) -> None:
        """Updates one variable on one replica, and its moving average."""
        self.update_step(gradient, variable, learning_rate)
        if self.use_ema:
            self._update_average(variable)
        if self.gradient_accumulation_steps:
            self.assign(self._accumulator(variable), ops.zeros_like(variable))

    def _update_average(self, variable: Any) -> None:
        """Updates the moving average of one variable on one replica."""
        # The first average is the variable itself.
        momentum = ops.where(ops.equal(self.iterations, 0), 0.0, self.ema_momentum)
        average = self._model_variables_moving_average[self._get_variable_index(variable)]
        change = ops.convert_to_tensor(variable) - ops.convert_to_tensor(average)
        self.assign_add(average, ops.cast(1.0 - momentum, variable.dtype) * change)


def wait_for(gradient: Tensor) -> AbstractContextManager[None]:
    """Delays the operations of a block until the gradient has been computed.

    TensorFlow runs every operation as soon as its inputs exist. It would compute the decay of all
    kernels before the first layer and keep the results in memory through the whole step.
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([gradient])


def decays(variable: keras.Variable, attention_scales: bool = True) -> bool:
    """Returns whether weight decay applies to a variable: a kernel or the scale of an attention.

    Args:
        variable: The variable.
        attention_scales: Whether it applies to the scales of attention.
    """
    return variable.name == "kernel" or (attention_scales and len(variable.shape) == 0)
