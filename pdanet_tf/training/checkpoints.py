"""Checkpoints of a run: their progress, how they are saved, and how they are loaded."""

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.base.wording import quantity
from pdanet_tf.files import one_line, whole_file
from pdanet_tf.training.callbacks import MONITOR
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.fine_tuning import load_with_frozen_parts
from pdanet_tf.training.optimization import averaged_weights
from pdanet_tf.training.run_folder import RunFolder

_PROGRESS_ENTRY = "pdanet_tf_progress.json"  # in the .keras file, which is a zip archive


@dataclass(frozen=True)
class Progress:
    """The progress of a run. Each checkpoint contains it, so that the two always agree.

    Attributes:
        origin: The options and the data of the run, see `run_folder.make_origin`.
        epochs: Number of complete epochs.
        best_score: Highest score so far.
        best_epochs: Number of epochs after which the model had that score.
        history: The metrics of every complete epoch.
    """

    origin: dict[str, Any]
    epochs: int = 0
    best_score: float = -math.inf
    best_epochs: int = 0
    history: tuple[dict[str, float], ...] = ()

    @classmethod
    def read(cls, checkpoint: Path) -> "Progress":
        """Reads the progress from a checkpoint that `Checkpoints` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is not such a checkpoint.
        """
        try:
            with zipfile.ZipFile(checkpoint) as archive:
                if _PROGRESS_ENTRY not in archive.namelist():
                    raise ValueError(
                        "it lacks the progress of the run, which training writes into checkpoints"
                    )
                return cls._from_json(archive.read(_PROGRESS_ENTRY))
        except FileNotFoundError:
            raise
        except Exception as error:  # damaged archives raise errors of many kinds
            raise ValueError(
                f"{checkpoint}: not a checkpoint of a run: {one_line(error)}"
            ) from error

    @classmethod
    def _from_json(cls, text: bytes) -> "Progress":
        try:
            content = json.loads(text)
            progress = cls(**{**content, "history": tuple(content["history"])})
            is_sound = {"config", "data"} <= progress.origin.keys() and progress.epochs >= 0
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            is_sound = False
        if not is_sound:
            raise ValueError("the progress of the run in it is damaged")
        return progress

    def after_epoch(self, logs: Mapping[str, Any]) -> "Progress":
        """Returns the progress after one more epoch, whose metrics are in Keras' logs."""
        score = float(logs[MONITOR])
        row = {"epoch": self.epochs, **{name: float(logs[name]) for name in sorted(logs)}}
        is_better = score > self.best_score
        is_best = is_better or not self.best_epochs  # the first score may be NaN
        return dataclasses.replace(
            self,
            epochs=self.epochs + 1,
            best_score=score if is_better else self.best_score,
            best_epochs=self.epochs + 1 if is_best else self.best_epochs,
            history=(*self.history, row),
        )

    def has_stalled(self, patience: int | None) -> bool:
        """Returns whether the score has not improved for `patience` epochs; None for never."""
        return patience is not None and self.epochs - self.best_epochs >= patience


class Checkpoints(keras.callbacks.Callback):
    """Saves the last state of training, the best model for inference, and the history.

    Each file is written atomically. The last state is written first, and the best model and the
    history are derived from it: if the process was killed before they were written, the resumed
    run writes them again. The last state has the weights themselves, with their moving averages
    beside them; the best model has the averages, if the run has them.

    Args:
        folder: The folder of the run.
        for_inference: Converts the trained model into the one that is saved as best.
        progress: The progress of the run so far.
    """

    def __init__(
        self,
        folder: RunFolder,
        for_inference: Callable[[keras.Model], keras.Model],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.for_inference = for_inference
        self.progress = progress

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Saves the initial state, so that a checkpoint always exists, and restores other files."""
        if not self.folder.last.exists():
            self._save_last()
        if self.progress.epochs and not self._has_best():
            # If the process was killed before `best.keras` was written, the last state is the best
            # one. If `best.keras` was lost, the last state is the best one that still exists.
            self.progress = dataclasses.replace(
                self.progress,
                best_score=self.progress.history[-1][MONITOR],
                best_epochs=self.progress.epochs,
            )
            self._save_best()
        self.folder.save_history(self.progress.history)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state, the model if it is the best so far, and the history."""
        self.progress = self.progress.after_epoch(logs or {})
        self._save_last()
        if self.progress.best_epochs == self.progress.epochs:
            self._save_best()
        self.folder.save_history(self.progress.history)

    def _has_best(self) -> bool:
        try:
            return Progress.read(self.folder.best).epochs == self.progress.best_epochs
        except (FileNotFoundError, ValueError):
            return False

    def _save_last(self) -> None:
        self._save(self.model, self.folder.last)

    def _save_best(self) -> None:
        with averaged_weights(self.model):
            model = self.for_inference(self.model)
        self._save(model, self.folder.best)

    def _save(self, model: keras.Model, path: Path) -> None:
        optimizer = getattr(model, "optimizer", None)  # only a compiled model has one
        variables = [*model.variables, *(optimizer.variables if optimizer else ())]
        size = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in variables)
        with whole_file(path, size) as temporary:
            model.save(temporary)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(_PROGRESS_ENTRY, json.dumps(dataclasses.asdict(self.progress)))


def load_checkpoint(
    folder: RunFolder, progress: Progress, steps_per_epoch: int, config: TrainConfig
) -> keras.Model:
    """Loads the last state of a run, with its optimizer.

    Args:
        folder: The folder of the run.
        progress: The progress in its last checkpoint.
        steps_per_epoch: Number of steps per epoch.
        config: The run.

    Raises:
        ValueError: If the file is damaged, lacks the optimizer, or does not agree with the
            progress.
    """
    path = folder.last
    try:
        model = (
            keras.saving.load_model(path)
            if config.freeze is None
            else load_with_frozen_parts(path, config.freeze)
        )
    except Exception as error:  # damaged files raise errors of many kinds
        # For wrong content, such as a list in place of an object, the messages of Keras and Python
        # do not help a user.
        is_plain = isinstance(error, ValueError | OSError) and _describes_model(path)
        reason = one_line(error) if is_plain else "the file is damaged"
        raise ValueError(f"{path}: the checkpoint cannot be loaded: {reason}") from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"{path}: the checkpoint cannot be loaded: it contains a model without an optimizer, "
            f"like {folder.best.name}, which cannot be trained further. Replace it by the run's "
            f"own {path.name}"
        )
    done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    # Updates of the weights, of which each may accumulate the gradients of several steps.
    expected = progress.epochs * steps_per_epoch // config.accumulation_steps
    # With loss scaling, steps that overflow are not counted.
    if done > expected or (done < expected and config.precision != "mixed_float16"):
        name = "step" if config.accumulation_steps == 1 else "update"
        raise ValueError(
            f"{path}: the optimizer has done {quantity(done, name)}, but "
            f"{quantity(progress.epochs, 'epoch')} of this run must be {expected}"
        )
    return model


def _describes_model(path: Path) -> bool:
    """Returns whether a `.keras` file contains a `config.json` with a JSON object."""
    try:
        with zipfile.ZipFile(path) as archive:
            return isinstance(json.loads(archive.read("config.json")), dict)
    except Exception:  # damaged archives raise errors of many kinds
        return False
