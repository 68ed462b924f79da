"""Callbacks of a training run."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.base.startup import keep_freed_memory
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.evaluation.parts import WHOLE, Part
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.scoring import evaluate_predictor
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.training.optimization import averaged_weights

MONITOR = "val_mean_iou"
# Mean IoU of the training batches; the second is that of a model with two outputs.
TRAINING_MEAN_IOU = ("mean_iou", "logits_mean_iou")


class NonFiniteLossError(ArithmeticError):
    """The loss of a training step was infinite or not a number."""


def _itself(model: keras.Model) -> keras.Model:
    return model


class Validation(keras.callbacks.Callback):
    """Scores the model at the end of every epoch, with the same protocol as `evaluate`.

    It adds `val_mean_iou` and `val_pixel_accuracy` to the logs, so it must come before the
    callbacks that read them. If the optimizer keeps moving averages of the weights, it scores the
    model with these.

    Args:
        dataset: The validation split.
        protocol: How the model sees an image.
        progress: Whether to show a progress bar, if standard error is a terminal.
        before_image: Is called before every image; an error that it raises ends the validation.
        part: The images of this process, if several share them.
        scored: Returns the model to score for the model that is trained: itself, or one with the
            same weights. It returns the same one in every epoch.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        protocol: Protocol,
        progress: bool = False,
        before_image: Callable[[], object] | None = None,
        part: Part = WHOLE,
        scored: Callable[[keras.Model], keras.Model] = _itself,
    ) -> None:
        super().__init__()
        self.part = part
        self.scored = scored
        self.before_image = before_image
        self.dataset = dataset
        self.protocol = protocol
        self.progress = progress
        self.evaluation: Evaluation | None = None
        self._predictor: Predictor | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Scores the model and adds the scores to the logs."""
        with averaged_weights(self.model):
            model = self.scored(self.model)
            if self._predictor is None:
                self._predictor = Predictor(
                    model, self.protocol, pixel_format=self.dataset.pixel_format
                )
            self.evaluation = evaluate_predictor(
                self._predictor,
                self.dataset,
                self.progress,
                before_image=self.before_image,
                part=self.part,
            )
        if logs is not None:
            logs[MONITOR] = self.evaluation.scores.mean_iou
            logs["val_pixel_accuracy"] = self.evaluation.scores.pixel_accuracy


class KeepFreedMemory(keras.callbacks.Callback):
    """Makes glibc keep freed memory from the first batch on; see `keep_freed_memory`."""

    def __init__(self) -> None:
        super().__init__()
        self._is_first = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers that the next batch is the first of an epoch."""
        self._is_first = True

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Applies the settings at the first batch of every epoch; this costs no time."""
        if self._is_first:
            keep_freed_memory()
        self._is_first = False


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training if the loss of a step, or a weight at the end of an epoch, is not finite."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the epoch, for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss became {loss} at step {batch + 1} of epoch {self._epoch + 1}. "
                f"The last good checkpoint is {self.checkpoint}. A lower learning_rate may help. "
                "Labels that are not a class also make the loss NaN."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the weights, before other callbacks score or save them."""
        for weight in self.model.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise NonFiniteLossError(
                    f"{weight.path} is not finite after epoch {epoch + 1}. "
                    f"The last good checkpoint is {self.checkpoint}."
                )


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped training. The message says what was kept and how to continue."""
