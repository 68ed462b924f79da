"""The progress of a run, which each of its checkpoints contains."""

import dataclasses
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdanet_tf.base.wording import quantity
from pdanet_tf.files import one_line
from pdanet_tf.training.callbacks import MONITOR

PROGRESS_ENTRY = "pdanet_tf_progress.json"  # in the .keras file, which is a zip archive
# What `to_json` adds for readers; `Progress` computes it.
_DERIVED = ("total_steps", "total_images")


@dataclass(frozen=True)
class Progress:
    """The progress of a run. Each checkpoint contains it, so that the two always agree.

    Attributes:
        origin: The options and the data of the run, see `run_folder.make_origin`.
        epochs: Number of complete epochs.
        best_score: Highest score so far.
        best_epochs: Number of epochs after which the model had that score.
        history: The metrics of every complete epoch.
        step: Number of complete steps of the epoch that is not complete. If it is the number of
            steps per epoch, only the validation is left.
        logs: Then the metrics of the training batches of that epoch; else None.
    """

    origin: dict[str, Any]
    epochs: int = 0
    best_score: float = -math.inf
    best_epochs: int = 0
    history: tuple[dict[str, float], ...] = ()
    step: int = 0
    logs: dict[str, float] | None = None

    @classmethod
    def read(cls, checkpoint: Path) -> "Progress":
        """Reads the progress from a checkpoint that `Checkpoints` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is not such a checkpoint.
        """
        try:
            with zipfile.ZipFile(checkpoint) as archive:
                if PROGRESS_ENTRY not in archive.namelist():
                    raise ValueError(
                        "it lacks the progress of the run, which training writes into checkpoints"
                    )
                return cls._from_json(archive.read(PROGRESS_ENTRY))
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
            content = {name: value for name, value in content.items() if name not in _DERIVED}
            progress = cls(**{**content, "history": tuple(content["history"])})
            is_sound = {"config", "data"} <= progress.origin.keys()
            is_sound &= progress.epochs >= 0 and progress.step >= 0
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            is_sound = False
        if not is_sound:
            raise ValueError("the progress of the run in it is damaged")
        return progress

    def to_json(self, steps_per_epoch: int, batch_size: int) -> str:
        """Returns what `read` reads, with the numbers of all steps and of all images so far."""
        steps = self.total_steps(steps_per_epoch)
        derived = dict(zip(_DERIVED, (steps, steps * batch_size), strict=True))
        return json.dumps({**dataclasses.asdict(self), **derived})

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the number of complete steps since the start of the run."""
        return self.epochs * steps_per_epoch + self.step

    def describe(self, steps_per_epoch: int) -> str:
        """Returns what is complete, for a sentence: "epoch 2" or "step 30 of 50 of epoch 3"."""
        if not self.step:
            return f"epoch {self.epochs}"
        return f"step {self.step} of {steps_per_epoch} of epoch {self.epochs + 1}"

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
            step=0,
            logs=None,
        )

    def has_stalled(self, patience: int | None) -> bool:
        """Returns whether the score has not improved for `patience` epochs; None for never."""
        return patience is not None and self.epochs - self.best_epochs >= patience


def describe_stall(progress: Progress) -> str:
    """Returns the sentence that says since when the score has not improved."""
    count = quantity(progress.epochs - progress.best_epochs, "epoch")
    return f"the validation score of epoch {progress.best_epochs} was not exceeded in {count}."
