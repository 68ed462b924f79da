"""What happens between the steps of a training run."""

import csv
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.evaluation import Evaluation, evaluate_predictor
from pdanet_tf.files import whole_file
from pdanet_tf.inference import Predictor, Protocol

MONITOR = "val_mean_iou"


class NonFiniteLossError(ArithmeticError):
    """The loss of a training step was infinite or not a number."""


class Validation(keras.callbacks.Callback):
    """Scores the model at the end of every epoch, by the protocol that `evaluate` uses.

    It adds `val_mean_iou` and `val_pixel_accuracy` to the logs, so it must come before the
    callbacks that read them.
    """

    def __init__(self, dataset: SegmentationDataset, protocol: Protocol) -> None:
        super().__init__()
        self.dataset = dataset
        self.protocol = protocol
        self.evaluation: Evaluation | None = None
        self._predictor: Predictor | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Scores."""
        if self._predictor is None:
            self._predictor = Predictor(self.model, self.protocol)
        self.evaluation = evaluate_predictor(self._predictor, self.dataset, progress=False)
        if logs is not None:
            logs[MONITOR] = self.evaluation.scores.mean_iou
            logs["val_pixel_accuracy"] = self.evaluation.scores.pixel_accuracy


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Raises as soon as the loss is infinite or not a number."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss became {loss} at step {batch + 1} of epoch {self._epoch + 1}. "
                f"The last good checkpoint is {self.checkpoint}. A lower learning_rate may help; "
                "labels that are no class make the loss NaN too."
            )


class Checkpoints(keras.callbacks.Callback):
    """Keeps the last state of training, and the best model for use.

    Both are written whole or not at all, and never with weights that are not finite.

    Args:
        last: File of the model as it is trained, with the optimizer's state.
        best: File of the model with the highest score so far.
        to_save: Turns the trained model into the one that is saved as best.
        best_score: Score to beat, of a run that is resumed.
    """

    def __init__(self, last: Path, best: Path, to_save: Any, best_score: float) -> None:
        super().__init__()
        self.last = last
        self.best = best
        self.to_save = to_save
        self.best_score = best_score

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Saves the initial state, so that there is always a good checkpoint."""
        if not self.last.exists():
            _save(self.model, self.last)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state, and the model if it is the best so far."""
        for weight in self.model.trainable_weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise NonFiniteLossError(
                    f"The weights of {weight.path} are not finite after epoch {epoch + 1}. "
                    f"The last good checkpoint is {self.last}."
                )
        score = (logs or {})[MONITOR]
        if score > self.best_score:
            self.best_score = score
            _save(self.to_save(self.model), self.best)
        _save(self.model, self.last)


def _save(model: keras.Model, path: Path) -> None:
    with whole_file(path) as beside:
        model.save(beside)


def best_score_so_far(history: Path) -> float:
    """Returns the highest score in a run's `history.csv`, or minus infinity."""
    if not history.is_file():
        return -math.inf
    with history.open(newline="") as file:
        return max((float(row[MONITOR]) for row in csv.DictReader(file)), default=-math.inf)
