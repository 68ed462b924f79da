"""Checkpoints of a run: when they are saved, and how they are loaded."""

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pdanet_tf.base.wording import quantity
from pdanet_tf.evaluation.parts import WHOLE, Part
from pdanet_tf.files import one_line
from pdanet_tf.training.callbacks import MONITOR
from pdanet_tf.training.checkpoint_files import check_checkpoint, write_checkpoint
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.fine_tuning import load_with_frozen_parts
from pdanet_tf.training.intervals import Due, Interval
from pdanet_tf.training.layer_policies import POLICIES_ENTRY, dump_policies, restore_policies
from pdanet_tf.training.metric_states import METRICS_ENTRY, dump_metrics
from pdanet_tf.training.optimization import averaged_weights
from pdanet_tf.training.progress import PROGRESS_ENTRY, Progress
from pdanet_tf.training.run_folder import RunFolder
from pdanet_tf.training.termination import Termination, TrainingTerminated


class Checkpoints(keras.callbacks.Callback):
    """Saves the last state of training, the best model for inference, and the history.

    Each file is written atomically. The last state is written first, and the best model and the
    history are derived from it: if the process was killed before they were written, the resumed
    run writes them again. The last state has the weights themselves, with their moving averages
    beside them; the best model has the averages, if the run has them. A state within an epoch also
    has the metrics of the epoch's batches so far.

    It does not depend on the number of devices: it counts the steps of all devices together, and
    holds one value of each variable.

    Args:
        folder: The folder of the run.
        for_inference: Converts the trained model into the one that is saved as best.
        progress: The progress of the run so far.
        config: The run, with its number of steps per epoch.
        termination: Tells whether the process was asked to stop.
        part: Lets several processes save and stop after the same step.
    """

    def __init__(
        self,
        folder: RunFolder,
        for_inference: Callable[[keras.Model], keras.Model],
        progress: Progress,
        config: TrainConfig,
        termination: Termination,
        part: Part = WHOLE,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.for_inference = for_inference
        self.progress = progress
        self.steps = config.steps_per_epoch or 1
        self.batch_size = config.batch_size
        self.kept = config.keep_checkpoints
        self.termination = termination
        self.part = part
        self._due = Due(Interval.parse(config.checkpoint_every))
        self._is_saved = True  # whether the last step that is complete is in `last.keras`

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Saves the initial state, so that a checkpoint always exists, and restores other files."""
        if not self.folder.last.exists():
            self._save_last()
        if self.progress.epochs and not self._has_best():
            # If the process was killed before `best.keras` was written, the last state is the best
            # one. If `best.keras` was lost or damaged, it is the best one that still exists.
            self.progress = dataclasses.replace(
                self.progress,
                best_score=self.progress.history[-1][MONITOR],
                best_epochs=self.progress.epochs,
            )
            self._save_best()
        self.folder.save_history(self.progress.history)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state if it is due. Raises `TrainingTerminated` if the process must stop."""
        self.progress = dataclasses.replace(self.progress, step=batch + 1)
        self._is_saved = False
        is_due, must_stop = self.part.any(
            self._due.after(self.progress.total_steps(self.steps)), self.termination.is_requested
        )
        if is_due:
            self.save_within_epoch()
        if must_stop:
            # At once: after an error, `fit` of Keras on JAX replaces weights by their averages.
            self.save_within_epoch()
            raise TrainingTerminated

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the state, the model if it is the best so far, and the history."""
        self.progress = self.progress.after_epoch(logs or {})
        self._save_last()
        if self.progress.best_epochs == self.progress.epochs:
            self._save_best()
        self.folder.save_history(self.progress.history)

    def save_within_epoch(self) -> None:
        """Saves the state after the last step that is complete, unless it is already saved."""
        if self._is_saved:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # between two steps, `fit` holds the variables' values
        if self.progress.step == self.steps:  # only the validation is left
            logs = {
                name: float(keras.ops.convert_to_numpy(each))
                for name, each in self.model.get_metrics_result().items()
            }
            self.progress = dataclasses.replace(self.progress, logs=logs)
        self._save_last({METRICS_ENTRY: dump_metrics(self.model)})

    def _has_best(self) -> bool:
        try:
            check_checkpoint(self.folder.best)
            # A later one is that of the same run, whose last states were damaged.
            return Progress.read(self.folder.best).epochs >= self.progress.best_epochs
        except (FileNotFoundError, ValueError):
            return False

    def _save_last(self, more: dict[str, str | bytes] | None = None) -> None:
        former = self.folder.former_states(self.kept - 1)
        entries = {POLICIES_ENTRY: dump_policies(self.model), **(more or {})}
        self._save(self.model, self.folder.last, former, entries)
        self.folder.remove_states_before(former)
        self._is_saved = True
        self._due.restart()

    def _save_best(self) -> None:
        with averaged_weights(self.model):
            model = self.for_inference(self.model)
        self._save(model, self.folder.best)

    def _save(
        self,
        model: keras.Model,
        path: Path,
        former: list[Path] | None = None,
        more: dict[str, str | bytes] | None = None,
    ) -> None:
        optimizer = getattr(model, "optimizer", None)  # only a compiled model has one
        variables = [*model.variables, *(optimizer.variables if optimizer else ())]
        size = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in variables)
        entries: dict[str, str | bytes] = {
            PROGRESS_ENTRY: self.progress.to_json(self.steps, self.batch_size),
            **(more or {}),
        }
        write_checkpoint(path, size, model.save, entries, former or ())


def load_checkpoint(
    path: Path, progress: Progress, steps_per_epoch: int, config: TrainConfig
) -> keras.Model:
    """Loads a state of a run, with its optimizer.

    Args:
        path: The checkpoint.
        progress: The progress in it.
        steps_per_epoch: Number of steps per epoch.
        config: The run.

    Raises:
        ValueError: If the file is damaged, lacks the optimizer, or does not agree with the
            progress.
    """
    try:
        model = (
            keras.saving.load_model(path)
            if config.freeze is None
            else load_with_frozen_parts(path, config.freeze)
        )
        restore_policies(model, path)
    except Exception as error:  # damaged files raise errors of many kinds
        # For wrong content, such as a list in place of an object, the messages of Keras and Python
        # do not help a user.
        is_plain = isinstance(error, ValueError | OSError) and _describes_model(path)
        reason = one_line(error) if is_plain else "the file is damaged"
        raise ValueError(f"{path}: the checkpoint cannot be loaded: {reason}") from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"{path}: the checkpoint cannot be loaded: it contains a model without an optimizer, "
            f"like best.keras, which cannot be trained further. Replace it by the run's "
            f"own {path.name}"
        )
    done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    # Updates of the weights, of which each may accumulate the gradients of several steps.
    expected = progress.total_steps(steps_per_epoch) // config.accumulation_steps
    # With loss scaling, steps that overflow are not counted.
    if done > expected or (done < expected and config.precision != "mixed_float16"):
        name = "step" if config.accumulation_steps == 1 else "update"
        raise ValueError(
            f"{path}: the optimizer has done {quantity(done, name)}, but "
            f"after {progress.describe(steps_per_epoch)} of this run it must be {expected}"
        )
    return model


def _describes_model(path: Path) -> bool:
    """Returns whether a `.keras` file contains a `config.json` with a JSON object."""
    try:
        with zipfile.ZipFile(path) as archive:
            return isinstance(json.loads(archive.read("config.json")), dict)
    except Exception:  # damaged archives raise errors of many kinds
        return False
