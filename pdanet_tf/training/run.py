"""Runs training, from a configuration to checkpoints and a summary."""

import dataclasses
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pdanet_tf.data import SegmentationDataset
from pdanet_tf.data.batches.augment_function import Augment
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.models.registry import find_model
from pdanet_tf.ops.backend import require_backend
from pdanet_tf.ops.precision import full_precision_floatx
from pdanet_tf.training.callbacks import (
    TrainingInterrupted,
)
from pdanet_tf.training.cluster import read_cluster, seconds_to_meet
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.inputs import Inputs
from pdanet_tf.training.lock import locked
from pdanet_tf.training.progress import Progress
from pdanet_tf.training.rendezvous import Meeting
from pdanet_tf.training.run_folder import (
    RunFolder,
)
from pdanet_tf.training.session import Session
from pdanet_tf.training.termination import Termination, TrainingTerminated

# What the processes of a run do not copy from its folder.
_UNSHARED = shutil.ignore_patterns("logs", ".lock", "*.tmp")


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        best: File of the model with the highest validation score, from RGB pixels to logits at
            the image's size.
        evaluation: Scores of that model on the validation split.
        summary: The content of `summary.json`.
    """

    best: Path
    evaluation: Evaluation
    summary: dict[str, Any]


def train(
    config: TrainConfig,
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    *,
    train_data: SegmentationDataset | None = None,
    validation_data: SegmentationDataset | None = None,
    augment: Augment | None = None,
) -> TrainResult:
    """Trains a model on one GPU, on several GPUs, on several machines, or on the CPU.

    It uses all GPUs, or the strategy of TensorFlow in whose scope it is called; with Keras' JAX
    backend all devices of JAX, or those of the `keras.distribution.DataParallel` that is set; see
    the page "Training on JAX". If the environment
    names several processes (TF_CONFIG, or Slurm's `srun` with several tasks), each of them trains
    on its share of every batch, and the first one writes the files; see the page "Several devices
    and machines".

    Training writes these files to `config.output_dir`: `best.keras` (the best model, for
    inference), `last.keras` and `last-1.keras` (the last state and the one before it, for
    `resume`), `history.csv`, TensorBoard logs in `logs` (if TensorBoard is installed: extra
    `tensorboard`), `config.json`, `inference.json`, `curves.png` (the learning curves, drawn at the
    end, after an error and after Ctrl-C), and at the end `summary.json`. The folder is locked
    during the run. `history.csv` counts epochs from 0, like Keras' `CSVLogger`; the printed lines
    and `curves.png` count them from 1.

    `history.csv` holds the metrics, `learning_rate` (that after the last step of the epoch), and
    for models with attention its scales, such as `gamma_position_6` for the 6 x 6 level of PDANet.

    If the folder holds a run with the same options that was interrupted, at whatever step, training
    continues it; `epochs`, `data_dir`, `checkpoint_every` and `keep_checkpoints` may differ. With
    `config.resume`, options that are not given are those of the run; see `resume`.

    After SIGTERM, by which schedulers announce that the process must end, training saves its state
    after the present step and raises `TrainingTerminated`, which ends the process with exit status
    75. Where the program handles SIGTERM itself, its handler stays.

    On a CPU, training makes the process keep freed memory: returning it to the system takes up to
    half of the time of a step. See `pdanet_tf.base.startup.keep_freed_memory`.

    Args:
        config: The model, the data and the optimization.
        verbose: 0 prints nothing; 2 prints a description of the run and a line per epoch; 1 and
            "auto" also show progress bars if standard error is a terminal.
        callbacks: More callbacks for `keras.Model.fit`. They come after the callbacks of the run:
            at the end of an epoch the files are already written, and `logs` has "val_mean_iou".
        train_data: Images to train on, an object of your own subclass of `SegmentationDataset`,
            in place of the data set that `config.dataset` names. Requires `validation_data`.
            `config.json` then records dataset="own data". `read` is called from several threads
            at the same time.
        validation_data: Images to score the model on, with the same classes.
        augment: A function from an image and its label map to both, changed, for whole training
            images before they are scaled and cropped; it is called from several threads at the
            same time. See `pdanet_tf.data.batches.augment_function.AugmentFunction`.

    Returns:
        The file of the best model, its scores, and the summary.

    Raises:
        ConnectionError: If another process that trains with this one cannot be reached, or has
            ended; the last checkpoint stays.
        DataError: If the data have an error; raised before anything is written. If `read` of
            data of your own or `augment` fails during the run; the last checkpoint stays.
        FileExistsError: If `output_dir` contains a run that has ended and `resume` is off, or if
            another process trains there.
        FileNotFoundError: If there is no run to resume.
        NonFiniteLossError: If the loss is infinite or not a number; the last good checkpoint
            stays.
        OSError: If a file cannot be written, for example because the disk is full; the last
            checkpoint stays.
        RuntimeError: If the backend of Keras is neither TensorFlow nor JAX.
        TimeoutError: If a process of several that train together does not come up within
            PDANET_TF_WORKER_SECONDS (a variable of the environment; 600 by default).
        TrainingInterrupted: After Ctrl-C. It is a KeyboardInterrupt whose message says what was
            kept and how to continue.
        TrainingTerminated: After SIGTERM. It is a SystemExit with the status 75, whose message says
            what was kept and how to continue.
        TypeError: If a data set, `augment` or a callback has the wrong type.
        ValueError: If an option does not fit the model, the data, the devices or the run that is
            resumed; if TF_CONFIG is wrong; or if processes that train together differ in their
            options, data or versions.

    Example:
        ```python
        config = pdanet_tf.TrainConfig(output_dir="runs/first", epochs=3, learning_rate=0.03)
        print(pdanet_tf.train(config).evaluation.scores.mean_iou)
        ```
    """
    if config.resume:
        given = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if field.name not in ("output_dir", "resume")
            and getattr(config, field.name) != field.default
        }
        return resume(
            config.output_dir,
            verbose,
            callbacks,
            train_data=train_data,
            validation_data=validation_data,
            augment=augment,
            **given,
        )
    inputs = Inputs(train_data, validation_data, augment, callbacks)
    config = dataclasses.replace(config, **inputs.configure(config))
    with _run(RunFolder(config.output_dir), inputs, verbose) as run:
        config = dataclasses.replace(config, output_dir=str(run.folder.path))
        if run.folder.is_interrupted:
            config = run.folder.continued_config(config)
            inputs.check_resumed(config, run.folder)
        return run.train(config)


def resume(
    output_dir: str | os.PathLike[str],
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    *,
    train_data: SegmentationDataset | None = None,
    validation_data: SegmentationDataset | None = None,
    augment: Augment | None = None,
    **given: Any,
) -> TrainResult:
    """Continues the run in a folder from its last checkpoint, also within an epoch.

    All options come from the `config.json` of the run. A run that was killed and resumed ends with
    the same results as an uninterrupted one, because all random choices depend only on the seed and
    the step, and a checkpoint within an epoch has the sums of its metrics. (Two runs differ in
    their last digits if threads add numbers in another order; TensorFlow's `enable_op_determinism`
    prevents that.) `history.csv` and `best.keras` are written again if they do not agree with the
    checkpoint, and temporary files of the killed process are removed. A damaged checkpoint is named
    in a warning, and the one before it is used. If the run has no checkpoint yet, it starts from
    the beginning.

    A run may be continued for more epochs than it was started with. From the current step on, the
    learning rate then follows the schedule over the new number of epochs, for example
    `learning_rate * (1 - step / (epochs * steps_per_epoch)) ** power`, and reaches 0 at the new
    end. At the first step after the change, the rate jumps to the new, higher curve. A run that
    stopped early, because of `patience`, stays as it is.

    Args:
        output_dir: Folder of the run.
        verbose: The same as in `train`.
        callbacks: The same as in `train`. What they have counted so far starts again.
        train_data: The same as in `train`, for a run that was started with data of your own.
        validation_data: Likewise.
        augment: The same as in `train`, for a run that was started with it.
        **given: Options of `TrainConfig` that the run is expected to have. Only `data_dir` (if the
            data were moved), `epochs` (a larger number), `checkpoint_every` and `keep_checkpoints`
            may differ from those of the run.

    Returns:
        The same as `train`.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If options or data (classes, numbers and names of the images) differ from
            those of the run; the message lists all differences. If a file of the run is damaged or
            belongs to another run.
        OSError: As in `train`, like its other errors.

    Example:
        ```python
        pdanet_tf.training.resume("runs/first", epochs=30)
        ```
    """
    inputs = Inputs(train_data, validation_data, augment, callbacks)
    with _run(RunFolder(output_dir), inputs, verbose, must_exist=True) as run:
        config = run.folder.resumed_config(given)
        inputs.check_resumed(config, run.folder)
        return run.train(config)


@dataclass(frozen=True)
class _Run:
    """What a call of `train` or `resume` works with."""

    folder: RunFolder
    shared: RunFolder  # `folder`, but for a process that works in a copy of it
    inputs: Inputs
    verbose: int | str
    termination: Termination
    meeting: Meeting | None

    @full_precision_floatx()
    def train(self, config: TrainConfig) -> TrainResult:
        """Trains, and scores the best model."""
        started = time.monotonic()
        session = Session(config, self.inputs, self.termination, self.meeting)
        session.check()
        with session.engine.connected():
            session.fit(self.verbose, self.inputs.callbacks)
            if self.verbose:
                epochs = Progress.read(session.folder.last).best_epochs
                print(f"Scoring the best model, that of epoch {epochs}, on the validation images")
            evaluation = session.score_best(bool(self.verbose))
        summary = session.summarise(evaluation, time.monotonic() - started)
        return TrainResult(self.shared.best, evaluation, summary)


@contextmanager
def _run(
    folder: RunFolder, inputs: Inputs, verbose: int | str, must_exist: bool = False
) -> Iterator[_Run]:
    """Locks the folder of a run. After Ctrl-C and SIGTERM, the error says how to continue.

    Of several processes that train together, only the chief writes to the folder. The others work
    in a temporary copy, which is removed, and print nothing.
    """
    termination = Termination()
    require_backend("Training", ("tensorflow", "jax"))
    cluster = read_cluster(os.environ)
    meeting = None if cluster is None else Meeting(cluster, seconds_to_meet(os.environ))
    with nullcontext() if meeting is None else meeting.explained():
        if must_exist:
            folder.check_run()  # before the lock creates the folder
        if folder.path.exists() and not folder.path.is_dir():
            raise FileExistsError(f"output_dir={folder.path} is a file")
        if cluster is None or cluster.is_chief:
            with _locked_run(folder, inputs, verbose, termination, meeting) as run:
                yield run
            return
        with termination.watching(), tempfile.TemporaryDirectory() as copy:
            if folder.path.exists():
                # The chief changes nothing before it has met the others.
                shutil.copytree(folder.path, copy, dirs_exist_ok=True, ignore=_UNSHARED)
            with _named_as(copy, str(folder.path)):
                yield _Run(RunFolder(copy), folder, inputs, 0, termination, meeting)


@contextmanager
def _named_as(copy: str, shared: str) -> Iterator[None]:
    """Names the folder of the run, not the copy of it, in errors about the run that it holds."""
    try:
        yield
    except (ValueError, FileExistsError) as error:
        error.args = tuple(
            each.replace(copy, shared) if isinstance(each, str) else each for each in error.args
        )
        raise


@contextmanager
def _locked_run(
    folder: RunFolder,
    inputs: Inputs,
    verbose: int | str,
    termination: Termination,
    meeting: Meeting | None,
) -> Iterator[_Run]:
    try:
        with termination.watching(), locked(folder.path):
            yield _Run(folder, folder, inputs, verbose, termination, meeting)
    except KeyboardInterrupt:
        raise TrainingInterrupted(_describe_interrupt(folder, inputs, "Interrupted")) from None
    except TrainingTerminated:
        text = _describe_interrupt(folder, inputs, "SIGTERM ended training")
        if verbose:
            print(text, file=sys.stderr, flush=True)
        raise TrainingTerminated(text) from None


def _describe_interrupt(folder: RunFolder, inputs: Inputs, what: str) -> str:
    if not folder.states():
        return f"{what} before the first checkpoint: nothing was kept. Start the run again."
    kept, progress = _newest_readable(folder)
    if progress is None:
        return f"{what}. All checkpoints in {folder.path} are damaged."
    config = TrainConfig.load(folder.config)
    path, imports = str(folder.path), ""
    module = find_model(config.model).family.__module__
    if module.partition(".")[0] not in ("pdanet_tf", "__main__"):
        imports = f" --import {module}"
    done = progress.describe(config.steps_per_epoch or 1)
    text = f"{what}. {kept} keeps the state after {done} of {config.epochs}.\n"
    call = inputs.spell_resume(folder)
    if inputs.has_data or inputs.augment is not None:
        return f"{text}To continue, in Python: {call}"
    command = f"pdanet-tf train --resume --output-dir {shlex.quote(path)}{imports}"
    return f"{text}To continue: {command} (in Python: {call})"


def _newest_readable(folder: RunFolder) -> tuple[Path, Progress | None]:
    """Returns the newest state of a run whose progress can be read, and that progress."""
    for state in folder.states():
        with suppress(ValueError):  # it is damaged: the run will continue from an earlier one
            return state, Progress.read(state)
    return folder.last, None
