"""The files of a run."""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pdanet_tf.base.fields import convert_field, shorten, with_nearest
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.files import read_json, remove_leftovers, write_atomically
from pdanet_tf.inference.settings import SETTINGS_FILE
from pdanet_tf.training.checkpoint_files import former_paths
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.summaries import HISTORY_FILE, SUMMARY_FILE
from pdanet_tf.weights.files import NAMED_WEIGHTS
from pdanet_tf.weights.hub import is_hub_address

# Options that may differ when a run is resumed.
_FREE = (
    "output_dir",
    "data_dir",
    "resume",
    "epochs",
    "checkpoint_every",
    "keep_checkpoints",
)
_CHANGED_FREELY = ("data_dir", "checkpoint_every", "keep_checkpoints")
# Options that a new run fills in if they are None.
_FILLED_IN = ("steps_per_epoch", "mean", "std")
# Entries of `describe_data` that are hashes, and the split whose names they represent.
_HASHED = {f"hash of the {split} images' names": split for split in ("training", "validation")}


class RunFolder:
    """The folder of a run, and the names of its files.

    Attributes:
        path: The folder.
        best: The model with the highest validation score, for inference.
        last: The last state of training, for resuming.
        history: The metrics of every epoch.
        curves: The learning curves, drawn when training ends.
        config: The `TrainConfig` of the run.
        summary: Scores, versions and devices, written at the end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.history = self.path / HISTORY_FILE
        self.curves = self.path / "curves.png"
        self.config = self.path / "config.json"
        self.summary = self.path / SUMMARY_FILE

    @property
    def is_interrupted(self) -> bool:
        """Whether the folder holds a run that has not ended as planned."""
        if not self.states() or not self.config.is_file():
            return False
        if not self.summary.is_file():
            return True
        # A run that has ended can be resumed for more epochs, and be interrupted then.
        return _read_epochs(self.summary) < TrainConfig.load(self.config).epochs

    def former_states(self, count: int) -> list[Path]:
        """Returns the names of the states before the last one, newest first."""
        return list(itertools.islice(former_paths(self.last), count))

    def states(self) -> list[Path]:
        """Returns the states of training that exist, newest first.

        If the process was killed between two renamings, one name in between is missing.
        """
        numbered = [
            (int(path.stem.rpartition("-")[2]), path)
            for path in self.path.glob("last-*.keras")
            if path.stem.rpartition("-")[2].isdecimal()
        ]
        former = [path for _, path in sorted(numbered)]
        return [self.last, *former] if self.last.exists() else former

    def remove_states_before(self, kept: Sequence[Path]) -> None:
        """Removes all former states but `kept`."""
        for path in self.states():
            if path != self.last and path not in kept:
                path.unlink()

    def remove_leftovers(self) -> None:
        """Removes temporary files of a killed process; the caller must have locked the folder."""
        settings = self.path / SETTINGS_FILE
        files = (self.best, self.last, self.history, self.curves, self.config, self.summary)
        for file in (*files, settings):
            remove_leftovers(file)

    def save_config(self, config: TrainConfig) -> None:
        """Writes `config.json`, with absolute paths of `data_dir` and of a file of weights."""
        paths = {name: describe_config(config)[name] for name in ("data_dir", "weights")}
        dataclasses.replace(config, **paths, resume=False).save(self.config)

    def save_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes `history.csv` with one row per epoch, or removes it if there are no rows."""
        if not rows:
            self.history.unlink(missing_ok=True)
            return
        names = dict.fromkeys(name for row in rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.history, text.getvalue())

    def check_run(self) -> None:
        """Raises `FileNotFoundError` if there is no run to resume."""
        if not self.config.is_file():
            raise FileNotFoundError(
                f"The run cannot be resumed: {self.config} is missing."
                if self.states()
                else f"There is no run to resume: {self.last} does not exist."
            )

    def resumed_config(self, given: Mapping[str, Any]) -> TrainConfig:
        """Returns the configuration for resuming the run.

        Args:
            given: Options that the caller asks for. An option that is None counts as not given.

        Raises:
            ValueError: If `config.json` is damaged, or options differ from those of the run. The
                message lists all differences, in the order of `TrainConfig`.
        """
        hints = typing.get_type_hints(TrainConfig)
        unknown = [name for name in given if name not in hints]
        if unknown:
            raise ValueError(f"TrainConfig has no option {with_nearest(unknown, hints)}")
        asked = {
            name: convert_field(name, given[name], hint)
            for name, hint in hints.items()
            if given.get(name) is not None
        }
        advice = "Leave these options out to continue it, or choose another output_dir."
        return self._resumed_config(asked, advice)

    def continued_config(self, config: TrainConfig) -> TrainConfig:
        """Returns the configuration for continuing the run with a whole configuration.

        Args:
            config: The configuration, of which every option counts.

        Raises:
            ValueError: As `resumed_config`.
        """
        config = config.resolved()
        asked = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if getattr(config, field.name) is not None or field.name not in _FILLED_IN
        }
        if config.data_dir is None:
            del asked["data_dir"]
        advice = (
            "It was interrupted, and these options would make it another run. Choose another "
            "output_dir for that; resume=True continues it with the options that it has."
        )
        return self._resumed_config(asked, advice)

    def _resumed_config(self, asked: dict[str, Any], advice: str) -> TrainConfig:
        former = TrainConfig.load(self.config).resolved()
        former = dataclasses.replace(former, weights=_absolute_weights(former.weights))
        if asked.get("weights") is not None:
            asked["weights"] = _absolute_weights(asked["weights"])
        different = [
            f"{name}={shorten(getattr(former, name))}, not {name}={shorten(value)}"
            for name, value in asked.items()
            if name not in _FREE and value != getattr(former, name)
        ]
        epochs = asked.get("epochs", former.epochs)
        if epochs < former.epochs:
            different.append(
                f"epochs={former.epochs}, not epochs={epochs} (it can only be increased)"
            )
        if different:
            raise ValueError(
                f"The run in {self.path} was started with {'; '.join(different)}. {advice}"
            )
        return dataclasses.replace(
            former,
            epochs=epochs,
            **{name: asked[name] for name in _CHANGED_FREELY if name in asked},
            output_dir=str(self.path),
            resume=True,
        )

    def describe_changes(self, config: TrainConfig) -> str:
        """Returns how the options of a run differ from those in its `config.json`; "" if nowhere.

        Args:
            config: The configuration with which the run is resumed.
        """
        former, current = describe_config(TrainConfig.load(self.config)), describe_config(config)
        names = ("epochs", *_CHANGED_FREELY)
        return _differences(
            {name: former[name] for name in names}, {name: current[name] for name in names}
        )


def _read_epochs(summary: Path) -> float:
    """Returns the number of epochs in a `summary.json`; infinity if it is damaged."""
    try:
        return int(read_json(summary)["config"]["epochs"])
    except (KeyError, TypeError, ValueError):
        return math.inf


def describe_config(config: TrainConfig) -> dict[str, Any]:
    """Returns a configuration ready for JSON, which is valid in every working directory.

    The folder of the data and a file of weights are absolute paths, so that the run can be resumed
    and its options can be used again from anywhere.
    """
    content = config.to_dict()
    content["weights"] = _absolute_weights(config.weights)
    if config.data_dir is not None:
        content["data_dir"] = os.path.abspath(config.data_dir)
    return content


def _absolute_weights(weights: str | None) -> str | None:
    """Returns the absolute path of a file of weights. Names of checkpoints stay as they are."""
    if weights is None or weights in NAMED_WEIGHTS or is_hub_address(weights):
        return weights
    return os.path.abspath(weights)


def describe_data(train: SegmentationDataset, validation: SegmentationDataset) -> dict[str, Any]:
    """Returns the facts about the data that batches and scores depend on, ready for JSON.

    The images are represented by their number and a hash of their names, in order. The content of
    the files is not compared.
    """
    images = train.pixel_format
    return {
        **({} if images.is_rgb else {"images": str(images)}),
        "classes": list(train.classes.names),
        "label for no class": train.void_label,
        "training images": len(train),
        "hash of the training images' names": _hash_names(train),
        "validation images": len(validation),
        "hash of the validation images' names": _hash_names(validation),
    }


def _hash_names(dataset: SegmentationDataset) -> str:
    names = json.dumps([dataset.name(index) for index in range(len(dataset))])
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def check_same_run(
    folder: RunFolder, origin: Mapping[str, Any], config: TrainConfig, data: Mapping[str, Any]
) -> None:
    """Checks that a checkpoint belongs to the run and to the data.

    Args:
        folder: The folder of the run.
        origin: The origin of the checkpoint, see `make_origin`.
        config: The configuration of the run that is resumed.
        data: What `describe_data` returns now.

    Raises:
        ValueError: If anything differs; the message lists all differences.
    """
    current = make_origin(config, data)
    # A checkpoint of an earlier pdanet_tf lacks the options that are new, as if they had their
    # defaults.
    defaults = make_origin(TrainConfig(), {})["config"]
    former = {**defaults, **(origin["config"] if isinstance(origin["config"], dict) else {})}
    if isinstance(former["weights"], str):  # earlier, it was relative to the working directory
        former["weights"] = _absolute_weights(former["weights"])
    different = _differences(former, current["config"])
    if different:
        raise ValueError(
            f"{folder.config} and {folder.last} belong to different runs: {different}. Restore "
            "the file that was changed."
        )
    different = _data_differences(origin["data"], current["data"])
    if different:
        raise ValueError(
            f"The run in {folder.path} was started on other data: {different}. Restore the data, "
            "or start a new run in another folder; to begin with the weights of this run, add "
            f"weights={str(folder.best)!r}."
        )


def make_origin(config: TrainConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the origin of a checkpoint: the options that cannot change, and the data."""
    options = {name: value for name, value in describe_config(config).items() if name not in _FREE}
    return json.loads(json.dumps({"config": options, "data": dict(data)}))


def _data_differences(former: Any, current: Mapping[str, Any]) -> str:
    """Describes how results of `describe_data` differ, without showing hashes."""
    former = former if isinstance(former, dict) else {}
    found = []
    for name, value in current.items():
        if former.get(name) == value:
            continue
        if name in _HASHED:
            found.append(f"the names of the {_HASHED[name]} images differ")
        elif isinstance(value, int) and name.endswith(" images"):
            found.append(f"there were {former.get(name)} {name}, now there are {value}")
        else:
            found.append(f"its {name} was {shorten(former.get(name))}, now it is {shorten(value)}")
    return "; ".join(found)


def _differences(former: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} was {shorten(former.get(name))}, now it is {shorten(value)}"
        for name, value in current.items()
        if former.get(name) != value
    )
