"""One training run, from a configuration to checkpoints and a summary."""

import dataclasses
import errno
import importlib.util
import json
import os
import platform
import shlex
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL
import tensorflow as tf
from rich.console import Console

from pdanet_tf.base.wording import quantity
from pdanet_tf.data import SegmentationDataset, load_dataset
from pdanet_tf.data.batches.pipeline import (
    check_crop_arguments,
    check_paper_arguments,
    crop_batches,
    paper_batches,
)
from pdanet_tf.data.batches.tf_bridge import ErrorRecordingDataset
from pdanet_tf.evaluation.report import Evaluation
from pdanet_tf.evaluation.scoring import evaluate
from pdanet_tf.files import one_line, write_atomically
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings
from pdanet_tf.layers import pixel_mean
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.metrics import MeanIoU, PixelAccuracy
from pdanet_tf.models.build import build_model, resolve_backbone_options
from pdanet_tf.models.inspection import logits_of, split_upsampling
from pdanet_tf.models.registry import find_model
from pdanet_tf.ops.backend import require_tensorflow
from pdanet_tf.ops.precision import full_precision_floatx
from pdanet_tf.optimizers import SGD
from pdanet_tf.training.announce import Report, describe_run
from pdanet_tf.training.callbacks import (
    Checkpoints,
    KeepFreedMemory,
    Progress,
    StopOnNonFinite,
    TrainingInterrupted,
    Validation,
)
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.lock import locked, refuse_workers
from pdanet_tf.training.run_folder import (
    RunFolder,
    check_same_run,
    describe_config,
    describe_data,
    make_origin,
)
from pdanet_tf.version import __version__
from pdanet_tf.weights.assign import assign_weights

_LIBRARIES = (tf, keras, np, PIL)


@dataclass(frozen=True)
class TrainResult:
    """What a training run leaves.

    Attributes:
        best: File of the model with the highest validation score: from RGB pixels to logits at
            the image's size.
        evaluation: Scores of that model on the validation split.
        summary: What `summary.json` holds.
    """

    best: Path
    evaluation: Evaluation
    summary: dict[str, Any]


def train(
    config: TrainConfig,
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainResult:
    """Trains a model, on one GPU, several of one machine, or the CPU.

    In `config.output_dir` it leaves `best.keras` (the best model, for use), `last.keras` (the
    last state, for `resume`), `history.csv`, TensorBoard logs in `logs` (if TensorBoard is
    installed: extra `tensorboard`), `config.json`, `inference.json`, and at the end
    `summary.json`. The folder is locked while the run lasts. `history.csv` counts epochs from 0,
    as Keras' `CSVLogger` does; what is printed counts them from 1.

    With `config.resume` it goes on with the run in that folder; see `resume`.

    On a CPU it has the process keep freed memory, which takes up to half of a step's time; see
    `pdanet_tf.base.startup.keep_freed_memory`.

    Args:
        config: What to train, on what, and how.
        verbose: 0 prints nothing; 2 prints what is trained, and a line per epoch; 1 and "auto"
            also show progress bars, if standard error is a terminal.
        callbacks: What else happens in `keras.Model.fit`, after the run's own callbacks: at the
            end of an epoch the files are written, and `logs` has "val_mean_iou".

    Returns:
        The best model's file, its scores, and the summary.

    Raises:
        DataError: If something is wrong with the data; before anything is written.
        FileExistsError: If `output_dir` holds a run and `resume` is off, or if another process
            trains there.
        FileNotFoundError: If there is no run to resume.
        NonFiniteLossError: If the loss is infinite or not a number; the last good checkpoint
            stays.
        OSError: If a file cannot be written, such as on a full disk; the last checkpoint stays.
        RuntimeError: If Keras runs on another backend than TensorFlow.
        TrainingInterrupted: A KeyboardInterrupt that says what was kept and how to go on.
        ValueError: If an option does not fit the model, the data, the devices or the run that is
            resumed, or if TF_CONFIG names several workers.

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
        return resume(config.output_dir, verbose, callbacks, **given)
    with _owned(RunFolder(config.output_dir)):
        return _train(config, verbose, callbacks)


def resume(
    output_dir: str | os.PathLike[str],
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **given: Any,
) -> TrainResult:
    """Goes on with the run in a folder, from its last checkpoint.

    The run's `config.json` says everything else. A run that was killed ends as it would have
    without: everything random depends on the seed and the step alone. (Two runs differ in their
    last digits where threads add up sums in another order; with TensorFlow's
    `enable_op_determinism` they do not.) `history.csv` and
    `best.keras` are written again where they do not agree with the checkpoint, and temporary files
    of the killed process are removed. If the run has no checkpoint yet, it starts.

    A run may be continued for more epochs than it was started with. The learning rate then
    follows the polynomial over the new number of epochs from the current step on,
    `learning_rate * (1 - step / (epochs * steps_per_epoch)) ** power`, and reaches 0 at the new
    end; at the step of the change it jumps up to that curve.

    Args:
        output_dir: Folder of the run.
        verbose: As in `train`.
        callbacks: As in `train`.
        **given: Options of `TrainConfig` that the run is expected to have. Only `data_dir` (the
            data were moved) and `epochs` (more of them) may differ from the run's.

    Returns:
        The same as `train`.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If options differ from the run's, or the data do (classes, numbers and names of
            the images): all differences are named. If a file of the run is damaged or foreign.
        OSError: The others are those of `train`.

    Example:
        ```python
        pdanet_tf.training.resume("runs/first", epochs=30)
        ```
    """
    folder = RunFolder(output_dir)
    folder.check_run()  # before the folder would be made
    with _owned(folder):
        return _train(folder.resumed_config(given), verbose, callbacks)


@contextmanager
def _owned(folder: RunFolder) -> Iterator[None]:
    """Locks a run's folder, and says how to go on if the user interrupts."""
    require_tensorflow("Training")
    refuse_workers(os.environ)
    if folder.path.exists() and not folder.path.is_dir():
        raise FileExistsError(f"output_dir={folder.path} is a file")
    try:
        with locked(folder.path):
            yield
    except KeyboardInterrupt:
        raise TrainingInterrupted(_describe_interrupt(folder)) from None


def _describe_interrupt(folder: RunFolder) -> str:
    if not folder.last.exists():
        return "Interrupted before the first checkpoint: nothing was kept. Start again as before."
    config = TrainConfig.load(folder.config)
    path, imports = str(folder.path), ""
    module = find_model(config.model).family.__module__
    if module.partition(".")[0] not in ("pdanet_tf", "__main__"):
        imports = f" --import {module}"
    return (
        f"Interrupted. {folder.last} keeps the state after epoch "
        f"{Progress.read(folder.last).epochs} of {config.epochs}.\n"
        f"To continue: pdanet-tf train --resume --output-dir {shlex.quote(path)}{imports} "
        f"(in Python: pdanet_tf.training.resume({path!r}))"
    )


@full_precision_floatx()
def _train(
    config: TrainConfig, verbose: int | str, callbacks: Sequence[keras.callbacks.Callback]
) -> TrainResult:
    started = time.monotonic()
    run = _Run(config)
    run.check()
    run.fit(verbose, callbacks)
    evaluation = evaluate(run.folder.best, run.validation, run.protocol, progress=bool(verbose))
    summary = run.summarise(evaluation, time.monotonic() - started)
    return TrainResult(run.folder.best, evaluation, summary)


class _Run:
    """The state of one call of `train`."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config = config.resolved()
        self.train = ErrorRecordingDataset(self._open("train"))
        self.validation = self._open("validation")
        self.protocol = Protocol(
            (config.short_edge,) if config.short_edge else None, config.max_size
        )
        self.folder = RunFolder(config.output_dir)
        self.steps = config.steps_per_epoch or max(1, len(self.train) // config.batch_size)
        # A resumed run keeps it.
        self.config = dataclasses.replace(config, steps_per_epoch=self.steps)
        self.data = describe_data(self.train, self.validation)
        self.progress = Progress(make_origin(self.config, self.data))
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
        self.strategy = tf.distribute.MirroredStrategy(gpus or ["CPU:0"])

    def _open(self, split: str) -> SegmentationDataset:
        config = self.config
        return load_dataset(
            config.dataset,
            split,
            config.data_dir,
            num_classes=config.num_classes,
            class_names=config.class_names,
            class_colors=config.class_colors,
            label_offset=config.label_offset,
            ignore_label=config.ignore_label,
        )

    def check(self) -> None:
        """Looks at the folder, the devices and the data."""
        if self.is_resumed:
            self.progress = Progress.read(self.folder.last)
            check_same_run(self.folder, self.progress.origin, self.config, self.data)
        elif self.folder.last.exists():
            raise FileExistsError(
                f"{self.folder.path} already holds a run. Choose another output_dir, or "
                "resume=True to go on with it."
            )
        elif self.folder.best.exists():
            raise FileExistsError(
                f"{self.folder.best} exists without {self.folder.last.name}, which resuming would "
                "need, and training would write over it. Choose another output_dir."
            )
        replicas = self.strategy.num_replicas_in_sync
        if self.config.batch_size % replicas:
            raise ValueError(
                f"batch_size must be a multiple of the number of devices, {replicas}. "
                f"Received: batch_size={self.config.batch_size}"
            )
        self._backbone_options()  # raises if the model has no such options
        check = check_paper_arguments if self._is_paper else check_crop_arguments
        check(self.train, self.config.batch_size, **self._batch_options())
        self.train.check()
        self.validation.check()

    @property
    def is_resumed(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.config.resume and self.folder.last.exists()

    def fit(self, verbose: int | str, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Builds or loads the model, and trains it; nothing is written before both could be."""
        config, progress = self.config, self.progress
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            model = self._loaded_model(verbose) if self.is_resumed else self._compiled_model()
            model.jit_compile = self._uses_xla()
        self._check_batch_norm(model)
        # Everything random is a function of the seed and the step, also where a run goes on.
        step = progress.epochs * self.steps
        batches = self._batches(model, step)
        _seed_dropout(model, config.seed, step)
        self.folder.remove_leftovers()
        InferenceSettings(self.train.classes, self.protocol).save(self.folder.path)
        self.folder.save_config(config)
        report = self._report(model, verbose)
        with self._told_of_full_disks(), self.train.original_errors(), report:
            model.fit(
                batches,
                initial_epoch=progress.epochs,
                epochs=config.epochs,
                steps_per_epoch=self.steps,
                callbacks=[
                    *self._callbacks(bool(verbose)),
                    *([report] if verbose else []),
                    *callbacks,
                ],
                shuffle=False,  # the batches are
                verbose=0,  # Keras' bar writes control characters into files, too
            )

    @contextmanager
    def _told_of_full_disks(self) -> Iterator[None]:
        """Turns TensorFlow's error when TensorBoard's logs find the disk full into an OSError."""
        try:
            yield
        except tf.errors.ResourceExhaustedError as error:
            if os.strerror(errno.ENOSPC) not in str(error):
                raise  # memory
            raise OSError(
                errno.ENOSPC,
                f"{os.strerror(errno.ENOSPC)}: TensorBoard's logs in {self.folder.path / 'logs'} "
                f"could not be written. The last good checkpoint is {self.folder.last}.",
            ) from error

    def _report(self, model: keras.Model, verbose: int | str) -> Report:
        """Says what is about to be trained, and returns what will tell the progress."""
        if verbose:
            lines = describe_run(
                self.config,
                {"train": self.train, "validation": self.validation},
                model,
                self.strategy.extended.worker_devices,
                self.progress.epochs,
                _has_tensorboard(),
            )
            print("\n".join(lines), flush=True)
        return Report(self.config.epochs, self.steps, with_bar=verbose != 2)

    @property
    def _is_paper(self) -> bool:
        return self.config.recipe == "paper"

    def _batch_options(self) -> dict[str, Any]:
        """Returns the options of the recipe that have limits of their own."""
        names = (
            ("short_edges", "max_size")
            if self._is_paper
            else ("crop_size", "scale_range", "color_jitter")
        )
        return {name: getattr(self.config, name) for name in names}

    def _batches(self, model: keras.Model, start_step: int) -> tf.data.Dataset:
        config = self.config
        _, grid = split_upsampling(model)
        options: dict[str, Any] = {
            **self._batch_options(),
            "flip": config.flip,
            "label_stride": _label_stride(model),
            # The label of a cell is that of the pixel in which prediction places the cell.
            "label_start": None if grid is None else int(grid.first + 0.5),
            "pad_color": pixel_mean(config.normalization),
            "seed": config.seed,
            "start_step": start_step,
        }
        if self._is_paper:
            batches = paper_batches(self.train, config.batch_size, **options)
        else:
            options["short_edge"] = config.short_edge
            batches = crop_batches(self.train, config.batch_size, **options)
        if config.aux_head:
            batches = batches.map(lambda x, y: (x, {"logits": y, "aux_logits": y}))
        return batches

    def _build(self, dtype: str, upsample: bool, aux_head: bool, **initial: Any) -> keras.Model:
        """Builds a model; `initial` tells its initial weights."""
        config = self.config
        options = self._backbone_options()
        if config.dropout is not None:
            options["dropout"] = config.dropout
        return build_model(
            config.model,
            num_classes=self.train.num_classes,
            upsample=upsample,
            aux_head=aux_head,
            normalization=config.normalization,
            dtype=dtype,
            **initial,
            **options,
        )

    def _backbone_options(self) -> dict[str, Any]:
        """Returns the options of the backbone, also for a model without ImageNet weights."""
        config = self.config
        return resolve_backbone_options(
            config.model,
            output_stride=config.output_stride,
            stem=config.stem,
            backbone_weights=config.backbone_weights,
        )

    def _compiled_model(self) -> keras.Model:
        config = self.config
        model = self._build(
            config.precision,
            upsample=False,
            aux_head=config.aux_head,
            weights=config.weights,
            backbone_weights=config.backbone_weights,
        )
        num_classes, void_label = self.train.num_classes, self.train.void_label
        loss: Any = SegmentationCrossEntropy(void_label)
        metrics: Any = [MeanIoU(num_classes, void_label), PixelAccuracy(num_classes, void_label)]
        if config.aux_head:
            loss = {"logits": loss, "aux_logits": SegmentationCrossEntropy(void_label)}
            metrics = {"logits": metrics}
        optimizer: Any = SGD(
            self._schedule(), config.momentum, config.nesterov, config.weight_decay
        )
        if config.precision == "mixed_float16":
            # Keras would wrap it by itself, but not again when the file is loaded.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(
            optimizer,
            loss,
            loss_weights={"logits": 1.0, "aux_logits": config.aux_weight}
            if config.aux_head
            else None,
            metrics=metrics,
            jit_compile=False,  # see `_uses_xla`
        )
        return model

    def _schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        config = self.config
        return keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate,
            decay_steps=config.epochs * self.steps,
            end_learning_rate=0.0,
            power=config.power,
        )

    def _loaded_model(self, verbose: int | str) -> keras.Model:
        """Loads the last state, with the schedule of as many epochs as are wanted now."""
        path, steps = self.folder.last, self.progress.epochs * self.steps
        try:
            model = keras.saving.load_model(path)
        except Exception as error:  # damaged files raise errors of many kinds
            # What Keras and Python say of wrong content, as of a list for an object, tells a
            # user nothing.
            is_plain = isinstance(error, ValueError | OSError) and _describes_model(path)
            reason = one_line(error) if is_plain else "the file is damaged"
            raise ValueError(f"{path}: the checkpoint cannot be loaded: {reason}") from error
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                f"{path}: the checkpoint cannot be loaded: it holds a model without an optimizer, "
                f"as {self.folder.best.name} does, from which no run goes on. Put the run's own "
                f"{path.name} in its place"
            )
        done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        # Where the loss is scaled, steps that overflow do not count.
        if done > steps or (done < steps and self.config.precision != "mixed_float16"):
            raise ValueError(
                f"{path}: the optimizer has done {quantity(done, 'step')}, but "
                f"{quantity(self.progress.epochs, 'epoch')} of this run must be {steps}"
            )
        former = float(model.optimizer.learning_rate)
        model.optimizer.learning_rate = self._schedule()
        if verbose:
            self._say_how_it_goes_on(former, float(model.optimizer.learning_rate))
        return model

    def _say_how_it_goes_on(self, former_rate: float, rate: float) -> None:
        text = (
            f"Going on with {self.folder.path} after epoch {self.progress.epochs} of "
            f"{self.config.epochs}."
        )
        if rate != former_rate:
            text += (
                f" For the new number of epochs the learning rate goes on at {rate:.3g} instead of "
                f"{former_rate:.3g}, and falls to 0 at the end."
            )
        Console(stderr=True).print(text, soft_wrap=True, markup=False, highlight=False)

    def _uses_xla(self) -> bool:
        """Tells whether XLA compiles the step: on one GPU, where crops of one size do it once.

        It does not work with several replicas, on CPUs its convolutions are slow, and it would
        compile anew for every shape of the paper's batches.
        """
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        return on_gpu and self.strategy.num_replicas_in_sync == 1 and not self._is_paper

    def _check_batch_norm(self, model: keras.Model) -> None:
        replicas = self.strategy.num_replicas_in_sync
        single = any(getattr(layer, "normalizes_single_values", False) for layer in model.layers)
        if self.config.batch_size // replicas < 2 and single:
            raise ValueError(
                f"{self.config.model} needs at least 2 images per device: the batch norm behind "
                "the image's average would normalise over a single value, and put out a "
                f"constant. Received: batch_size={self.config.batch_size} on {replicas} device(s)"
            )

    def _callbacks(self, shows_progress: bool) -> list[keras.callbacks.Callback]:
        callbacks: list[keras.callbacks.Callback] = [
            StopOnNonFinite(self.folder.last),
            Validation(self.validation, self.protocol, shows_progress),
            Checkpoints(self.folder, self._for_inference, self.progress),
        ]
        if _has_tensorboard():
            logs = self.folder.path / "logs"
            callbacks.append(keras.callbacks.TensorBoard(logs, write_graph=False))
        if not tf.config.list_logical_devices("GPU"):
            callbacks.append(KeepFreedMemory())
        return callbacks

    def _for_inference(self, trained: keras.Model) -> keras.Model:
        """Returns the trained model as it is used: float32, logits at the image's size."""
        model = self._build("float32", upsample=True, aux_head=False)
        paths = {weight.path for weight in model.weights}
        arrays = {w.path: keras.ops.convert_to_numpy(w) for w in trained.weights if w.path in paths}
        assign_weights(model, arrays, source="the trained model")
        return model

    def summarise(self, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
        """Writes `summary.json`, and returns what it holds."""
        summary = {
            "config": describe_config(self.config),
            "seed": self.config.seed,
            "seconds": round(seconds, 1),
            "versions": {
                "python": platform.python_version(),
                "pdanet_tf": __version__,
                **{library.__name__: library.__version__ for library in _LIBRARIES},
            },
            "machine": platform.platform(),
            "devices": list(self.strategy.extended.worker_devices),
            "classes": list(self.train.classes.names),
            "validation": evaluation.to_dict(),
        }
        write_atomically(self.folder.summary, json.dumps(summary, indent=2) + "\n")
        return summary


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


def _describes_model(path: Path) -> bool:
    """Tells whether a `.keras` file holds a `config.json` with a JSON object."""
    try:
        with zipfile.ZipFile(path) as archive:
            return isinstance(json.loads(archive.read("config.json")), dict)
    except Exception:  # damaged archives raise errors of many kinds
        return False


def _label_stride(model: keras.Model) -> int:
    """Returns the stride of the model's logits, at which the loss is taken."""
    side = 256  # of any image of a few strides
    shape = logits_of(model.compute_output_shape((1, side, side, 3)))
    return -(-side // shape[1])


def _seed_dropout(model: keras.Model, seed: int, step: int) -> None:
    """Sets the generators of all dropouts, which count the steps and are not saved."""
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    for index, state in enumerate(states):
        state.assign([seed + index, step])
