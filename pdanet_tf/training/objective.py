"""The loss and the metrics of a run."""

from typing import Any

import keras

from pdanet_tf.base.wording import quantity
from pdanet_tf.data import SegmentationDataset
from pdanet_tf.data.class_frequencies import compute_class_weights, count_classes
from pdanet_tf.losses import make_loss
from pdanet_tf.metrics import MeanIoU, PixelAccuracy
from pdanet_tf.models.inspection import output_placements, split_upsampling
from pdanet_tf.training.config import TrainConfig


def resolve_class_weights(
    config: TrainConfig, dataset: SegmentationDataset, show_progress: bool = False
) -> tuple[float, ...] | None:
    """Returns the weight of each class in the loss; None without `config.class_weights`.

    Args:
        config: The run.
        dataset: The training split, whose annotations are counted if necessary.
        show_progress: Whether to show a bar on a terminal meanwhile.

    Raises:
        ValueError: If there are not as many weights as classes, or all are 0; or if a class does
            not occur in the split and therefore has no weight.
        DataError: If an annotation cannot be read.
    """
    weights = config.class_weights
    if isinstance(weights, str):
        frequencies = count_classes(dataset, show_progress=show_progress)
        return compute_class_weights(weights, frequencies, dataset.classes)
    if weights is None:
        return None
    if len(weights) != dataset.num_classes:
        raise ValueError(
            f"class_weights must have one number per class of the data set, {dataset.num_classes}. "
            f"Received: {quantity(len(weights), 'number')}"
        )
    if not any(weights):
        raise ValueError("class_weights must not all be 0. Received: only zeros")
    return weights


def check_loss(config: TrainConfig) -> None:
    """Checks the loss before there is a model.

    Raises:
        ValueError: If `config.loss` or a parameter in it is unknown or out of range, or if
            `config.label_smoothing` is given without "ce".
    """
    make_loss(config.loss, label_smoothing=config.label_smoothing)


def make_losses(
    config: TrainConfig,
    dataset: SegmentationDataset,
    model: keras.Model,
    class_weights: tuple[float, ...] | None,
) -> tuple[Any, dict[str, float] | None]:
    """Returns the loss of each output of a model, and their weights, as `compile` takes them.

    With `loss_size="labels"`, the losses place the logits in the image as inference does.

    Args:
        config: The run.
        dataset: The training split.
        model: The model that is trained.
        class_weights: What `resolve_class_weights` returns.

    Raises:
        ValueError: If `config.loss` or a parameter in it is unknown or out of range.
    """
    names = ("logits", "aux_logits") if config.aux_head else ("logits",)
    losses = {
        name: make_loss(
            config.loss,
            dataset.void_label,
            class_weights,
            config.label_smoothing,
            **_placement(config, model, name),
        )
        for name in names
    }
    if not config.aux_head:
        return losses["logits"], None
    return losses, {"logits": 1.0, "aux_logits": config.aux_weight}


def make_metrics(config: TrainConfig, dataset: SegmentationDataset, model: keras.Model) -> Any:
    """Returns the metrics of the training batches, as `compile` takes them.

    They place the logits in the image as the loss does.
    """
    common = (dataset.num_classes, dataset.void_label)
    placement = _placement(config, model, "logits")
    metrics = [MeanIoU(*common, **placement), PixelAccuracy(*common, **placement)]
    return {"logits": metrics} if config.aux_head else metrics


def _placement(config: TrainConfig, model: keras.Model, name: str) -> dict[str, Any]:
    """Returns the arguments with which losses and metrics place logits in the label map.

    With `loss_size="labels"` it is the place that inference gives them in the image.
    """
    if config.loss_size != "labels":
        return {}
    if name == "logits":
        _, grid = split_upsampling(model)
    else:
        grid = output_placements(model).get(name)
    return {} if grid is None else {"stride": grid.stride, "first": grid.first}
