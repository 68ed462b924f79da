"""What happens between the steps of a training run."""

import csv
import dataclasses
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.evaluation import Evaluation, evaluate_predictor
from pdanet_tf.files import whole_file, write_atomically
from pdanet_tf.inference import Predictor, Protocol

MONITOR = "val_mean_iou"
_PROGRESS_ENTRY = "pdanet_tf_progress.json"  # in the .keras file, which is a zip archive


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


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises as soon as the loss, or a weight at the end of an epoch, is not a finite number."""

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

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the weights, before anyone scores or saves them."""
        for weight in self.model.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise NonFiniteLossError(
                    f"{weight.path} is not finite after epoch {epoch + 1}. "
                    f"The last good checkpoint is {self.checkpoint}."
                )


@dataclass(frozen=True)
class Progress:
    """How far a run has come; it is kept inside the checkpoint, so that the two always agree.

    Attributes:
        epochs: Number of epochs that are done.
        best_score: Highest score so far.
    """

    epochs: int = 0
    best_score: float = -math.inf

    @classmethod
    def of(cls, checkpoint: Path) -> "Progress":
        """Reads the progress from a checkpoint that `Checkpoints` wrote.

        Raises:
            ValueError: If the file is no such checkpoint.
        """
        try:
            with zipfile.ZipFile(checkpoint) as archive:
                return cls(**json.loads(archive.read(_PROGRESS_ENTRY)))
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{checkpoint}: not a checkpoint of a run: {error!r}") from error


class Checkpoints(keras.callbacks.Callback):
    """Keeps the last state of training, and the best model for use.

    Both are written whole or not at all.

    Args:
        last: File of the model as it is trained, with the optimizer's state and the progress.
        best: File of the model with the highest score so far.
        for_use: Turns the trained model into the one that is saved as best.
        progress: How far the run has come.
    """

    def __init__(
        self,
        last: Path,
        best: Path,
        for_use: Callable[[keras.Model], keras.Model],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.last = last
        self.best = best
        self.for_use = for_use
        self.progress = progress

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Saves the initial state, so that there is always a good checkpoint."""
        if not self.last.exists():
            self._save_last()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the model if it is the best so far, and the state."""
        score = (logs or {})[MONITOR]
        if score > self.progress.best_score or not self.best.exists():
            with whole_file(self.best) as beside:
                self.for_use(self.model).save(beside)
        self.progress = Progress(epoch + 1, max(score, self.progress.best_score))
        self._save_last()

    def _save_last(self) -> None:
        with whole_file(self.last) as beside:
            self.model.save(beside)
            with zipfile.ZipFile(beside, "a") as archive:
                archive.writestr(_PROGRESS_ENTRY, json.dumps(dataclasses.asdict(self.progress)))


def cut_history(history: Path, epochs: int) -> None:
    """Removes the rows of a `history.csv` that lie behind the checkpoint."""
    if not history.is_file():
        return
    with history.open(newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if row and int(row[0]) < epochs]
    write_atomically(history, "".join(",".join(row) + "\n" for row in [header, *kept] if row))
