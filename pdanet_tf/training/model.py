"""The model of a run: compiled for training, and converted for inference."""

from collections.abc import Callable
from typing import Any

import keras

from pdanet_tf.base.fields import shorten, with_nearest
from pdanet_tf.data import SegmentationDataset
from pdanet_tf.models.build import build_model, resolve_backbone_options
from pdanet_tf.models.registry import find_model
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.fine_tuning import prepare_model
from pdanet_tf.training.objective import make_losses, make_metrics
from pdanet_tf.training.optimization import make_optimizer
from pdanet_tf.weights.assign import assign_weights
from pdanet_tf.weights.fitting import LoadedWeights


def compiled_model(
    config: TrainConfig,
    dataset: SegmentationDataset,
    steps: int,
    class_weights: tuple[float, ...] | None = None,
    on_weights: Callable[[LoadedWeights], object] | None = None,
) -> keras.Model:
    """Builds and compiles the model for training.

    Args:
        config: The run.
        dataset: The training split.
        steps: Number of steps per epoch.
        class_weights: The weight of each class in the loss, see `resolve_class_weights`.
        on_weights: Is called with what was loaded, if `config.weights` names initial weights.
    """
    model = _build(
        config,
        dataset.num_classes,
        config.precision,
        upsample=False,
        aux_head=config.aux_head,
        # `weights` replaces all weights of the backbone, which then need not be downloaded.
        backbone_weights=None if config.weights is not None else config.backbone_weights,
    )
    loaded = prepare_model(model, config, dataset.num_classes)
    if loaded is not None and on_weights is not None:
        on_weights(loaded)
    loss, loss_weights = make_losses(config, dataset, model, class_weights)
    metrics = make_metrics(config, dataset, model)
    optimizer = make_optimizer(config, model, steps)
    # The caller decides on XLA, which depends on the devices.
    model.compile(optimizer, loss, loss_weights=loss_weights, metrics=metrics, jit_compile=False)
    # The state is saved before the first step, in which `fit` would build the optimizer.
    model.optimizer.build(model.trainable_variables)
    return model


def inference_model(config: TrainConfig, num_classes: int, trained: keras.Model) -> keras.Model:
    """Returns a trained model in the form for inference: float32, logits at the image's size."""
    model = _build(config, num_classes, "float32", upsample=True, aux_head=False)
    paths = {weight.path for weight in model.weights}
    arrays = {w.path: keras.ops.convert_to_numpy(w) for w in trained.weights if w.path in paths}
    assign_weights(model, arrays, source="the trained model")
    return model


def _build(
    config: TrainConfig,
    num_classes: int,
    dtype: str,
    upsample: bool,
    aux_head: bool,
    **initial: Any,
) -> keras.Model:
    """Builds a model; `initial` has the arguments for its initial weights."""
    options = {**backbone_options(config), **head_options(config)}
    try:
        return build_model(
            config.model,
            num_classes=num_classes,
            variant=config.variant,
            upsample=upsample,
            aux_head=aux_head,
            input_shape=(None, None, 3 if config.mean is None else len(config.mean)),
            normalization=config.normalization,
            mean=config.mean,
            std=config.std,
            dtype=dtype,
            **initial,
            **options,
        )
    except TypeError as error:
        if not config.head_options:
            raise
        raise ValueError(
            f"The head of {config.model} cannot be built: {error}. "
            f"Received: head_options={shorten(config.head_options)}"
        ) from error


def head_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options of the model's head.

    Raises:
        ValueError: If there is no such model, or its head has no such option; the message names
            the nearest.
    """
    options = dict(config.head_options or {})
    known = find_model(config.model, config.variant).option_names
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(
            f"The head of {config.model} has no option {with_nearest(unknown, known)}. Its options "
            f"are {', '.join(known)}. Received: head_options={shorten(config.head_options)}"
        )
    return options if config.dropout is None else {**options, "dropout": config.dropout}


def backbone_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options with which a model without ImageNet weights has the same backbone.

    Raises:
        ValueError: If there is no such model, or its backbone has no such option.
    """
    return resolve_backbone_options(
        config.model,
        output_stride=config.output_stride,
        stem=config.stem,
        backbone_weights=config.backbone_weights,
        variant=config.variant,
    )


def check_batch_norm(model: keras.Model, config: TrainConfig) -> None:
    """Checks that batch norm never normalises over a single value.

    Raises:
        ValueError: If it would, with `config.batch_size` images, those of all devices.
    """
    single = any(getattr(layer, "normalizes_single_values", False) for layer in model.layers)
    if config.batch_size < 2 and single:
        raise ValueError(
            f"{config.model} requires batches of at least 2 images: the batch norm after global "
            "average pooling would normalise over a single value and return a constant. Received: "
            f"batch_size={config.batch_size}"
        )


def seed_dropout(model: keras.Model, seed: int, step: int) -> None:
    """Sets the random generators of all dropout layers, whose states are not saved.

    Args:
        model: The model.
        seed: Seed of the run.
        step: Number of complete steps, which the generators count.
    """
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    for index, state in enumerate(states):
        state.assign([seed + index, step])
