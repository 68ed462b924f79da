"""Continues a run within an epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from pdanet_tf.training.metric_states import restore_metrics
from pdanet_tf.training.progress import Progress


def fit_from(
    progress: Progress,
    model: keras.Model,
    batches: Any,
    callbacks: Sequence[keras.callbacks.Callback],
    epochs: int,
    steps: int,
    metrics: Mapping[str, np.ndarray],
    first_batch: Callable[[], tuple[Any, Any]],
) -> None:
    """Trains a model for the epochs and steps that are left.

    Args:
        progress: What is complete.
        model: The compiled model.
        batches: Endless batches of images and labels, from the next step on.
        callbacks: Callbacks for `keras.Model.fit`.
        epochs: Number of epochs.
        steps: Number of steps per epoch.
        metrics: The state of the metrics within the epoch, see `metric_states.read_metrics`.
        first_batch: Returns one of the batches.
    """
    epoch = progress.epochs
    chosen: Any = list(callbacks)
    if progress.step:
        chosen = ResumedCallbacks(
            callbacks,
            model,
            epoch,
            epochs,
            progress.step % steps,
            steps,
            metrics,
            first_batch,
        )
    if progress.step == steps:
        chosen.finish_epoch(progress.logs or {})
        epoch += 1
        if epoch == epochs or model.stop_training:
            chosen.on_train_end()
            return
    model.fit(
        batches,
        initial_epoch=epoch,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=chosen,
        shuffle=False,  # the batches are already shuffled
        verbose=0,  # Keras' bar writes control characters even into files
    )


class ResumedCallbacks(keras.callbacks.CallbackList):
    """Callbacks for `keras.Model.fit` of which the first epoch begins at a later step.

    Keras begins each epoch with its first step and with metrics of zero. In the first epoch, this
    list restores the metrics, numbers the steps as in the whole epoch, and stops after the last
    one: the data must begin at the step.

    Args:
        callbacks: The callbacks.
        model: The model that is trained.
        epoch: The epoch that is continued, counted from 0.
        epochs: Number of epochs.
        step: Number of its steps that are complete, from 0 to `steps` - 1.
        steps: Number of steps per epoch.
        metrics: The state of the metrics after these steps, see `metric_states.read_metrics`.
        batch: Returns a batch of images and labels.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        epoch: int,
        epochs: int,
        step: int,
        steps: int,
        metrics: Mapping[str, np.ndarray],
        batch: Callable[[], tuple[Any, Any]],
    ) -> None:
        super().__init__(
            list(callbacks), add_history=True, model=model, verbose=0, epochs=epochs, steps=steps
        )
        self._epoch = epoch
        self._steps = steps
        self._metrics = metrics
        self._batch = batch
        self._done = step
        self._shift = 0  # what is added to Keras' number of a step
        self._has_begun = False
        self._stops: bool | None = None  # what the callbacks want, while Keras is told to stop

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins training, once: `finish_epoch` may already have begun it."""
        if not self._has_begun:
            super().on_train_begin(logs)
        self._has_begun = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores the metrics in the epoch that is continued."""
        self._shift = self._done if epoch == self._epoch else 0
        if self._shift:
            restore_metrics(self.model, self._metrics, self._batch)
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Passes the number of the step on."""
        super().on_train_batch_begin(batch + self._shift, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Passes the number of the step on, and ends the epoch after its last step."""
        super().on_train_batch_end(batch + self._shift, logs)
        if self._shift and batch + self._shift + 1 == self._steps:
            self._stops = self.model.stop_training
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Lets training continue, unless a callback has stopped it."""
        if self._stops is not None:
            self.model.stop_training, self._stops = self._stops, None
        super().on_epoch_end(epoch, logs)

    def finish_epoch(self, logs: Mapping[str, float]) -> None:
        """Ends the epoch whose steps are all complete, as `fit` would have, and begins training.

        Args:
            logs: The metrics of its training batches.
        """
        self.on_train_begin()
        super().on_epoch_begin(self._epoch)
        super().on_epoch_end(self._epoch, dict(logs))
