"""The optimizer of a run, its learning rate, and the moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from pdanet_tf.backbones.parts import find_backbone
from pdanet_tf.optimizers import SGD, Adam, AdamW, LinearWarmup
from pdanet_tf.training.config import TrainConfig


def check_steps(config: TrainConfig, steps: int) -> None:
    """Checks that a run has enough steps for its warm-up and for one update of the weights.

    Args:
        config: The run.
        steps: Number of steps per epoch.

    Raises:
        ValueError: If it has too few; the message names the option.
    """
    total = config.epochs * steps
    if config.warmup_steps >= total:
        raise ValueError(
            f"warmup_steps must be below the number of steps, {config.epochs} x {steps} = {total}. "
            f"Received: warmup_steps={config.warmup_steps}. 0 is no warm-up"
        )
    if config.accumulation_steps > total:
        raise ValueError(
            "accumulation_steps must be at most the number of steps, "
            f"{config.epochs} x {steps} = {total}, or the weights are never updated. "
            f"Received: accumulation_steps={config.accumulation_steps}"
        )


def make_optimizer(
    config: TrainConfig, model: keras.Model, steps: int
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run.

    Args:
        config: The run.
        model: The model; layers that are not trained are already frozen.
        steps: Number of steps per epoch.

    Raises:
        ValueError: If `config.backbone_lr` is given and the model has no backbone.
    """
    options: dict[str, Any] = {
        "learning_rate": learning_rate_schedule(config, steps),
        "weight_decay": config.weight_decay,
        "rate_factors": _rate_factors(config, model),
        "decay_attention_scales": config.decay_attention_scales,
        "global_clipnorm": config.clip_norm,
    }
    if config.accumulation_steps > 1:
        options["gradient_accumulation_steps"] = config.accumulation_steps
    if config.ema is not None:
        options |= {"use_ema": True, "ema_momentum": config.ema}
    if config.optimizer == "sgd":
        optimizer = SGD(momentum=config.momentum, nesterov=config.nesterov, **options)
    else:
        optimizer = (Adam if config.optimizer == "adam" else AdamW)(**options)
    if config.precision == "mixed_float16":
        # `compile` would wrap the optimizer as well, but Keras does not when it loads the file.
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _rate_factors(config: TrainConfig, model: keras.Model) -> dict[str, float]:
    """Returns the factor of the learning rate for each layer of the backbone that is trained."""
    if config.backbone_lr == 1:
        return {}
    backbone = find_backbone(model)
    if backbone is None:
        raise ValueError(
            f"backbone_lr requires a model with a backbone, but {config.model} has none. "
            f"Received: backbone_lr={config.backbone_lr}"
        )
    layers = {variable.path.split("/")[0] for variable in backbone.trainable_variables}
    return dict.fromkeys(sorted(layers), config.backbone_lr)


def learning_rate_schedule(
    config: TrainConfig, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate over all epochs of `steps` steps.

    The rate rises from 0 during `warmup_steps`. Over the remaining steps it decays from
    `learning_rate` to 0, either as (1 - t) ** power ("poly") or as (1 + cos(pi * t)) / 2
    ("cosine"), where t runs from 0 to 1; or it is constant. It depends on the number of steps,
    also where several steps make one update: update u, counted from 0, has the rate of its last
    step, u * accumulation_steps + accumulation_steps - 1.

    Returns:
        A schedule; a number if the rate is constant without a warm-up, so that callbacks such as
        `keras.callbacks.ReduceLROnPlateau` can change it.
    """
    remaining = config.epochs * steps - config.warmup_steps
    rate: Any = config.learning_rate
    if config.schedule == "poly":
        rate = keras.optimizers.schedules.PolynomialDecay(
            rate, decay_steps=remaining, end_learning_rate=0.0, power=config.power
        )
    elif config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=remaining)
    return LinearWarmup(rate, config.warmup_steps) if config.warmup_steps else rate


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives a model the moving averages of its weights in a block, and its own weights afterwards.

    Weights without an average stay: those that are not trained, and the moving statistics of
    batch norm, which are averages already (`torch.optim.swa_utils.AveragedModel` keeps them, too).
    A model whose optimizer has no averages, or has not updated the weights yet, stays as it is.
    """
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # that of a LossScaleOptimizer
    averages = optimizer.averages()
    # Copies, because adding and subtracting would change the last digits of the weights.
    weights = [keras.ops.convert_to_numpy(variable).copy() for variable, _ in averages]
    try:
        for variable, average in averages:
            variable.assign(average)
        yield
    finally:
        for (variable, _), weight in zip(averages, weights, strict=True):
            variable.assign(weight)
