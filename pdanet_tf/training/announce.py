"""Output of a training run: seven lines before the first step, then its progress."""

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from pdanet_tf.base.processor import describe_processor, slow_precision
from pdanet_tf.base.wording import quantity
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.training.callbacks import MONITOR, TRAINING_MEAN_IOU
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.progress import Progress as TrainingProgress
from pdanet_tf.training.run_folder import RunFolder

_SIZES_READ = 64  # images whose size is read; reading all sizes of a large data set takes too long


def describe_run(
    config: TrainConfig,
    splits: dict[str, SegmentationDataset],
    model: keras.Model,
    devices: Sequence[str],
    progress: TrainingProgress,
    has_tensorboard: bool,
) -> list[str]:
    """Describes a run before it starts: data, model, devices, steps, loss, optimizer, and results.

    Args:
        config: The run, with the recipe's defaults filled in.
        splits: The data set of each split.
        model: The model that is trained.
        devices: TensorFlow's names of the devices.
        progress: What is already complete.
        has_tensorboard: Whether logs for TensorBoard are written.

    Returns:
        Seven lines, and an eighth if `config.precision` is slow on this processor.
    """
    classes = next(iter(splits.values())).num_classes
    images = next(iter(splits.values())).pixel_format
    channels = "" if images.is_rgb else f", {images}"
    data = "; ".join(f"{name} {_describe_images(split)}" for name, split in splits.items())
    on_cpu = not any("GPU" in device for device in devices)
    places = ", ".join(device.rpartition("device:")[2] for device in devices)
    if on_cpu:
        places += f" ({os.cpu_count()} cores, {describe_processor()})"
    crops = f" as crops of {_product(config.crop_size)}" if config.crop_size else ""
    epochs = quantity(config.epochs, "epoch")
    if progress.epochs or progress.step:
        epochs = f"epochs {progress.epochs + 1} to {config.epochs}"
    logs = (
        "TensorBoard logs" if has_tensorboard else "no logs, because TensorBoard is not installed"
    )
    variant = "" if config.variant is None else f" ({config.variant})"
    lines = [
        f"Data: {config.dataset}, {quantity(classes, 'class', 'classes')}{channels}; "
        f"{data} (height x width)",
        f"Model: {config.model}{variant}, {model.count_params():,} parameters",
        f"Devices: {places}; precision {config.precision}",
        f"Steps: {config.steps_per_epoch} per epoch, {epochs}, "
        f"{quantity(config.batch_size, 'image')} each{crops}",
        f"Loss: {_describe_loss(config)}",
        f"Optimizer: {_describe_optimizer(config)}",
        f"Results: {config.output_dir} (best.keras, last.keras, history.csv; {logs})",
    ]
    slow = slow_precision(config.precision, training=True) if on_cpu else None
    return [*lines, f"Note: {slow}"] if slow else lines


def _describe_loss(config: TrainConfig) -> str:
    parts = [f"{config.loss} at the size of the {config.loss_size}"]
    if isinstance(config.class_weights, str):
        parts.append(f"class weights {config.class_weights}")
    elif config.class_weights is not None:
        lowest, highest = min(config.class_weights), max(config.class_weights)
        parts.append(f"class weights from {lowest:g} to {highest:g}")
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    if config.aux_head:
        parts.append(f"{config.aux_weight:g} times that of the auxiliary head")
    return "; ".join(parts)


def _describe_optimizer(config: TrainConfig) -> str:
    rate = f"learning rate {config.learning_rate:g}, {config.schedule}"
    if config.warmup_steps:
        rate += f" after {quantity(config.warmup_steps, 'step')} of warm-up"
    parts = [config.optimizer, rate]
    if config.backbone_lr != 1 and config.freeze != "backbone":
        parts.append(f"backbone at {config.backbone_lr:g} times the rate")
    if config.clip_norm is not None:
        parts.append(f"gradients clipped to norm {config.clip_norm:g}")
    if config.accumulation_steps > 1:
        images = config.accumulation_steps * config.batch_size
        parts.append(f"an update per {config.accumulation_steps} steps ({images} images)")
    if config.ema is not None:
        parts.append(f"validated with averaged weights (momentum {config.ema:g})")
    if config.patience is not None:
        epochs = quantity(config.patience, "epoch")
        parts.append(f"stops after {epochs} without a better score")
    return "; ".join(parts)


def describe_resuming(
    folder: RunFolder,
    progress: TrainingProgress,
    config: TrainConfig,
    former_rate: float,
    rate: float,
    changes: str,
) -> str:
    """Describes how a run is resumed.

    Args:
        folder: The folder of the run.
        progress: What is already complete.
        config: The run.
        former_rate: The learning rate in the checkpoint.
        rate: The learning rate of the first step.
        changes: How its options differ from those so far; "" if nowhere.
    """
    done = progress.describe(config.steps_per_epoch or 1)
    text = f"Resuming {folder.path} after {done} of {config.epochs}."
    if progress.epochs == config.epochs:
        text += " Nothing is left to train; the best model is scored again."
    if rate != former_rate:
        text += (
            f" The number of epochs has changed. The learning rate continues at {rate:.3g} instead "
            f"of {former_rate:.3g}, and decays to 0 at the new end."
        )
    if changes:
        text += f" Changed: {changes}."
    return text


def _describe_images(dataset: SegmentationDataset) -> str:
    count = len(dataset)
    step = -(-count // _SIZES_READ)
    sizes = {dataset.size(index) for index in range(0, count, step)}
    text = quantity(count, "image")
    if not sizes:
        return text
    smallest, largest = (bound(sizes, key=lambda size: size[0] * size[1]) for bound in (min, max))
    text += f", {_product(smallest)}"
    if smallest != largest:
        text += f" to {_product(largest)}"
    return text if step == 1 or len(sizes) == 1 else f"{text} in a sample"


def _product(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


class Report(keras.callbacks.Callback):
    """Prints one line per epoch. On a terminal it also shows a progress bar of the steps.

    It must come after the callbacks that score and save. As a context manager it restores the
    terminal when training fails.

    Args:
        epochs: Number of epochs.
        steps: Number of steps per epoch.
        with_bar: Whether to show the bar if standard error is a terminal.
    """

    def __init__(self, epochs: int, steps: int, with_bar: bool) -> None:
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.console = Console(stderr=True)
        self.with_bar = with_bar and self.console.is_terminal
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "Report":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the progress bar."""
        self._started = time.monotonic()
        if self.with_bar:
            self._bar = Progress(
                TextColumn(f"Epoch {epoch + 1}/{self.epochs}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.steps)
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the bar, and removes it after the last step: validation shows another bar."""
        if self._bar is None:
            return
        self._bar.update(self._task, completed=batch + 1, description=_describe_logs(logs))
        if batch + 1 == self.steps:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the line of the epoch."""
        seconds = time.monotonic() - self._started
        print(
            f"Epoch {epoch + 1}/{self.epochs}: {_describe_logs(logs)}, {seconds:.0f} s", flush=True
        )

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _describe_logs(logs: dict[str, Any] | None) -> str:
    logs = logs or {}
    shown = [("loss", logs.get("loss"))]
    shown += [("mean IoU", logs[name]) for name in TRAINING_MEAN_IOU if name in logs]
    shown.append(("validation mean IoU", logs.get(MONITOR)))
    return ", ".join(f"{name} {value:.4f}" for name, value in shown if value is not None)
