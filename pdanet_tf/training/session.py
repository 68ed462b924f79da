"""One run: its checks, its training, and its summary."""

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from pdanet_tf.data.batches.tf_bridge import ErrorRecordingDataset
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.scoring import evaluate_predictor
from pdanet_tf.files import write_atomically
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.training.announce import Report, describe_resuming, describe_run
from pdanet_tf.training.batches import check_batches, make_batches, try_augment
from pdanet_tf.training.callbacks import (
    KeepFreedMemory,
    StopOnNonFinite,
    Validation,
)
from pdanet_tf.training.channels import check_same_format, with_statistics
from pdanet_tf.training.checkpoint_files import newest_sound
from pdanet_tf.training.checkpoints import Checkpoints, load_checkpoint
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.curves import LogState, curves_at_end
from pdanet_tf.training.early_stopping import StopOnStall
from pdanet_tf.training.engines import check_division, start_engine
from pdanet_tf.training.epochs import fit_from
from pdanet_tf.training.fine_tuning import describe_fine_tuning
from pdanet_tf.training.inputs import Inputs
from pdanet_tf.training.metric_states import read_metrics
from pdanet_tf.training.model import (
    backbone_options,
    check_batch_norm,
    compiled_model,
    head_options,
    inference_model,
    seed_dropout,
)
from pdanet_tf.training.objective import check_loss, resolve_class_weights
from pdanet_tf.training.optimization import check_steps, learning_rate_schedule
from pdanet_tf.training.progress import Progress, describe_stall
from pdanet_tf.training.rendezvous import Meeting, check_own_port
from pdanet_tf.training.run_folder import (
    RunFolder,
    check_same_run,
    describe_data,
    make_origin,
)
from pdanet_tf.training.splits import open_split
from pdanet_tf.training.summary_file import library_versions, make_summary, source_hash
from pdanet_tf.training.tensorboard import full_disk_as_os_error, has_tensorboard, logs_of
from pdanet_tf.training.termination import Termination, TrainingTerminated
from pdanet_tf.weights.files import load_keras_file
from pdanet_tf.weights.fitting import LoadedWeights
from pdanet_tf.weights.identity import identify

# What a new run finds out, and its checkpoints keep for the summary.
_KEPT: tuple[str, ...] = ("weights", "class_weights")


class Session:
    """One call of `train` or `resume`: checks, training, and the summary.

    Args:
        config: The run.
        inputs: The Python objects that the caller gave.
        termination: Tells whether the process was asked to stop.
        meeting: That of the processes that train together; None if this one trains alone.
    """

    def __init__(
        self,
        config: TrainConfig,
        inputs: Inputs,
        termination: Termination,
        meeting: Meeting | None = None,
    ) -> None:
        self.config = config = config.resolved()
        self.inputs = inputs
        self.termination = termination
        self.meeting = meeting
        self.cluster = None if meeting is None else meeting.cluster
        self.train = ErrorRecordingDataset(open_split(config, inputs, "train"))
        self.validation = open_split(config, inputs, "validation")
        self.protocol = Protocol(
            (config.short_edge,) if config.short_edge else None, config.max_size
        )
        self.folder = RunFolder(config.output_dir)
        self.steps = config.steps_per_epoch or max(1, len(self.train) // config.batch_size)
        # A resumed run keeps the number of steps.
        self.config = dataclasses.replace(config, steps_per_epoch=self.steps)
        self.data = describe_data(self.train, self.validation)
        self.progress = Progress({**make_origin(self.config, self.data), **inputs.describe()})
        self.state = self.folder.last  # the state that a resumed run continues from
        self.loaded: LoadedWeights | None = None

    def _facts(self) -> dict[str, Any]:
        """Returns what must be the same in all processes that train together."""
        options = make_origin(self.config, self.data)["config"]
        if not self.is_resumed:
            # Files are compared by their content: each machine may have its own copy.
            for name in ("weights", "backbone_weights"):
                options[name] = identify(options[name])
        versions = {f"version of {name}": version for name, version in library_versions().items()}
        return {
            **{name: value for name, value in options.items() if name != "data_dir"},
            "epochs": self.config.epochs,
            "checkpoint_every": self.config.checkpoint_every,
            "steps that are complete": self.progress.total_steps(self.steps),
            **self.data,
            **self.inputs.describe(),
            "number of GPUs": len(tf.config.list_physical_devices("GPU")),
            **versions,
            "hash of the source files of pdanet_tf": source_hash(),
        }

    def check(self) -> None:
        """Checks the folder, the devices, the options and the data, and reads the progress."""
        if self.is_resumed:
            self.state = newest_sound(self.folder.states())
            self.progress = Progress.read(self.state)
            check_same_run(self.folder, self.progress.origin, self.config, self.data)
            self.inputs.check_origin(self.progress.origin, self.folder)
        elif self.folder.states():
            raise FileExistsError(
                f"{self.folder.path} already holds a run. Choose another output_dir, or "
                "resume=True to continue it."
            )
        elif self.folder.best.exists():
            raise FileExistsError(
                f"{self.folder.best} exists without {self.folder.last.name}: the run cannot be "
                "resumed, and training would overwrite the model. Choose another output_dir."
            )
        backbone_options(self.config)  # raises if the model has no such options
        head_options(self.config)  # likewise
        check_steps(self.config, self.steps)
        if self.meeting is not None:
            if keras.backend.backend() == "tensorflow":
                check_own_port(self.meeting.cluster)
            self.meeting.hold(self._facts())
            self.termination.defer_for_good()
        self.engine = start_engine(self.cluster)
        check_division(self.engine, self.config.batch_size)
        check_loss(self.config)
        check_batches(self.config, self.train)
        self.train.check()
        self.validation.check()
        check_same_format(self.train, self.validation)
        if not self.is_resumed:
            self.config = with_statistics(self.config, self.train)
            origin = {**self.progress.origin, **make_origin(self.config, self.data)}
            self.progress = dataclasses.replace(self.progress, origin=origin)
        if self.inputs.augment is not None:
            try_augment(self.config, self.train, self.inputs.augment)

    @property
    def is_resumed(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return self.config.resume and bool(self.folder.states())

    @property
    def has_stopped(self) -> bool:
        """Whether a run that is resumed had stopped early, so that nothing is left to train."""
        is_whole = self.progress.epochs == self.config.epochs
        return not is_whole and self.progress.has_stalled(self.config.patience)

    def fit(self, verbose: int | str, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Builds or loads the model and trains it.

        An error before the training starts leaves no files.
        """
        config, progress = self.config, self.progress
        keras.utils.set_random_seed(config.seed)
        with self.engine.building():
            model = self._loaded_model(verbose) if self.is_resumed else self._new_model(verbose)
            model.jit_compile = self.engine.uses_xla(is_one_size=config.recipe == "crop")
        check_batch_norm(model, config)
        # All random choices are functions of the seed and the step, also in a resumed run.
        step = progress.total_steps(self.steps)
        make = functools.partial(make_batches, config, self.train, model, step, self.inputs.augment)
        model, batches, first_batch = self.engine.feed(model, make, config.batch_size)
        seed_dropout(model, config.seed, step)
        metrics = read_metrics(self.state) if progress.step else {}
        self.folder.remove_leftovers()
        if self.is_resumed and self.state != self.folder.last:  # newer ones are damaged or missing
            os.replace(self.state, self.folder.last)
        settings = InferenceSettings(self.train.classes, self.protocol, self.train.pixel_format)
        settings.save(self.folder.path)
        if not self.has_stopped:
            self.folder.save_config(config)
        report = self._report(model, verbose)
        checkpoints = self._checkpoints()
        callbacks = [
            *self._callbacks(checkpoints, bool(verbose)),
            *([report] if verbose else []),
            *callbacks,
        ]
        with (
            self.engine.fitting(),
            curves_at_end(self.folder, bool(verbose)),
            full_disk_as_os_error(self.folder),
            self.train.original_errors(),
            report,
            self._saved_when_terminated(checkpoints),
        ):
            epochs = progress.epochs if self.has_stopped else config.epochs
            fit_from(progress, model, batches, callbacks, epochs, self.steps, metrics, first_batch)

    @contextmanager
    def _saved_when_terminated(self, checkpoints: Checkpoints) -> Iterator[None]:
        """Saves the state after SIGTERM, where the block has left the model between two steps."""
        with self.termination.deferred():
            try:
                yield
            except TrainingTerminated:
                checkpoints.save_within_epoch()
                raise

    def _new_model(self, verbose: int | str) -> keras.Model:
        """Builds and compiles the model."""
        # Raises if they do not fit, before the model is built.
        class_weights = resolve_class_weights(self.config, self.train, bool(verbose))
        if isinstance(self.config.class_weights, str):
            self._keep("class_weights", class_weights and list(class_weights))
        return compiled_model(self.config, self.train, self.steps, class_weights, self._keep_loaded)

    def _keep_loaded(self, loaded: LoadedWeights) -> None:
        """Keeps what was loaded for the description and for the summary."""
        self.loaded = loaded
        self._keep("weights", loaded.describe())

    def _keep(self, name: str, value: object) -> None:
        """Keeps a value for the summary, in the checkpoints too."""
        origin = {**self.progress.origin, name: value}
        self.progress = dataclasses.replace(self.progress, origin=origin)

    def _report(self, model: keras.Model, verbose: int | str) -> Report:
        """Prints the description of the run, and returns the callback that reports its progress."""
        if verbose and not self.has_stopped and self.progress.epochs < self.config.epochs:
            lines = describe_run(
                self.config,
                {"train": self.train, "validation": self.validation},
                model,
                self.engine.devices,
                self.progress,
                has_tensorboard(),
            )
            lines += describe_fine_tuning(model, self.config, self.loaded)
            print("\n".join(lines), flush=True)
        is_validated = self.progress.step == self.steps
        return Report(self.config.epochs, self.steps, with_bar=verbose != 2 and not is_validated)

    def _loaded_model(self, verbose: int | str) -> keras.Model:
        """Loads the last state, and sets the schedule for the present number of epochs."""
        config, progress = self.config, self.progress
        model = load_checkpoint(self.state, progress, self.steps, config)
        former = float(model.optimizer.learning_rate)
        schedule = learning_rate_schedule(config, self.steps)
        if not isinstance(schedule, float):  # a number may have been changed by a callback
            model.optimizer.learning_rate = schedule
        if verbose:
            rate = former if self.has_stopped else float(model.optimizer.learning_rate)
            changes = self.folder.describe_changes(config)
            text = describe_resuming(self.folder, progress, config, former, rate, changes)
            if self.has_stopped:
                text += f" The run has stopped early: {describe_stall(self.progress)}"
            Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)
        return model

    @property
    def _on_gpu(self) -> bool:
        return any("GPU" in device for device in self.engine.devices)

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(
            self.folder,
            self._for_inference,
            self.progress,
            self.config,
            self.termination,
            self.engine.part,
        )

    def _for_inference(self, model: keras.Model) -> keras.Model:
        with self.engine.alone():
            return inference_model(self.config, self.train.num_classes, model)

    def _callbacks(
        self, checkpoints: Checkpoints, shows_progress: bool
    ) -> list[keras.callbacks.Callback]:
        callbacks: list[keras.callbacks.Callback] = [
            StopOnNonFinite(self.folder.last),
            LogState(),
            Validation(
                self.validation,
                self.protocol,
                shows_progress,
                self.termination.check if self.engine.stops_while_scoring else None,
                self.engine.part,
                self.engine.scored,
            ),
            checkpoints,
            StopOnStall(checkpoints, self.config.patience, verbose=shows_progress),
        ]
        if has_tensorboard():
            callbacks.append(keras.callbacks.TensorBoard(logs_of(self.folder), write_graph=False))
        if not self._on_gpu:
            callbacks.append(KeepFreedMemory())
        return callbacks

    def score_best(self, progress: bool) -> Evaluation:
        """Scores `best.keras` on the validation images."""
        with self.engine.alone():
            predictor = Predictor(
                load_keras_file(self.folder.best),
                self.protocol,
                pixel_format=self.validation.pixel_format,
            )
            return evaluate_predictor(predictor, self.validation, progress, part=self.engine.part)

    def summarise(self, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
        """Writes `summary.json`, and returns its content."""
        origin = self.progress.origin
        kept = {name: origin[name] for name in _KEPT if name in origin}
        summary = make_summary(
            self.config,
            self.inputs,
            self.train.classes,
            self.engine.devices,
            kept,
            evaluation,
            seconds,
            self.progress.total_steps(self.steps),
        )
        write_atomically(self.folder.summary, json.dumps(summary, indent=2) + "\n")
        return summary
