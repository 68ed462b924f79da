"""Ends a run whose validation score no longer improves."""

from typing import Any

import keras

from pdanet_tf.training.checkpoints import Checkpoints
from pdanet_tf.training.progress import describe_stall


class StopOnStall(keras.callbacks.Callback):
    """Stops training after `patience` epochs without a better validation score.

    What it decides on is the progress that each checkpoint contains, so a resumed run stops at the
    same epoch. (The counters of `keras.callbacks.EarlyStopping` start again with each `fit`.) It
    must come after the callback that saves the checkpoints.

    Args:
        checkpoints: The callback that saves the checkpoints.
        patience: Number of epochs, at least 1; None never stops.
        verbose: Whether to print why training ends.
    """

    def __init__(self, checkpoints: Checkpoints, patience: int | None, verbose: bool) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.patience = patience
        self.verbose = verbose
        self._stops = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops training if the score has not improved for long enough."""
        is_last = epoch + 1 == self.params["epochs"]
        self._stops = not is_last and self.checkpoints.progress.has_stalled(self.patience)
        if self._stops:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Prints why training has ended early, after the line of the last epoch."""
        if self._stops and self.verbose:
            progress = self.checkpoints.progress
            print(f"Stopped after epoch {progress.epochs}: {describe_stall(progress)}", flush=True)
