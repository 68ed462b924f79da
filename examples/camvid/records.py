"""What the folders of the runs on CamVid contain."""

import csv
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies import RECIPE

from pdanet_tf.base.fields import from_mapping
from pdanet_tf.base.processor import describe_processor
from pdanet_tf.benchmark.machine import describe_machine
from pdanet_tf.files import read_json, write_atomically
from pdanet_tf.recipes import find
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.summaries import SUMMARY_FILE, RunSummary

LAST_EPOCHS = 3  # whose scores tell how far a score depends on the epoch
_OF_THIS_MACHINE = ("output_dir", "data_dir", "resume")


@dataclass(frozen=True)
class Call:
    """One process of a run, which may take several.

    Attributes:
        first: Number of epochs that were complete when it started.
        last: Number of epochs that were complete when it ended.
        started: When it started, in seconds since 1970.
        seconds: How long it took.
        status: Its exit status.
        machine: Processor, number of cores and versions.
        processor: What the processor computes with.
    """

    first: int
    last: int
    started: float
    seconds: float
    status: int
    machine: str = dataclasses.field(
        default_factory=lambda: describe_machine("tensorflow", "keras", "numpy")
    )
    processor: str = dataclasses.field(default_factory=describe_processor)

    def append_to(self, file: Path) -> None:
        """Adds the call to a JSON file."""
        calls = [*read_calls(file), self]
        content = {"calls": [dataclasses.asdict(call) for call in calls]}
        write_atomically(file, json.dumps(content, indent=2) + "\n")


def calls_file(folder: Path) -> Path:
    """Returns the file beside the folder of a run that lists its calls."""
    return folder.with_suffix(".calls.json")


def without_attention_file(folder: Path) -> Path:
    """Returns the file beside the folder of a run with its score at gamma = 0."""
    return folder.with_suffix(".without_attention.json")


def read_calls(file: Path) -> list[Call]:
    """Reads the calls of a run; there are none if there is no such file."""
    return [Call(**call) for call in read_json(file)["calls"]] if file.exists() else []


def read_history(folder: Path) -> list[dict[str, float]]:
    """Reads `history.csv`, a row for each complete epoch; empty if there is no such file."""
    path = folder / "history.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: float(value) if value else math.nan for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def count_epochs(folder: Path) -> int:
    """Returns the number of complete epochs of a run."""
    return len(read_history(folder))


@dataclass(frozen=True)
class Record:
    """A run, whether it has ended or not.

    Attributes:
        name: Its name, without the seed.
        folder: Its folder, `NAME/seedSEED`; None if only its JSON file among the results is here.
        config: Its options.
        history: The metrics of every complete epoch.
        summary: Its scores; None if it has not ended.
        calls: Its processes, as far as they were recorded.
        seconds: The time of all processes; None if a part of it was not recorded.
        without_attention: The mean IoU of its best model with all attention scales at 0, as
            `without_attention.py` has measured it; None if it has not.
    """

    name: str
    folder: Path | None
    config: TrainConfig
    history: Sequence[Mapping[str, float]]
    summary: RunSummary | None
    calls: Sequence[Call]
    seconds: float | None
    without_attention: float | None

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Reads the folder of a run."""
        score = without_attention_file(path)
        history, calls = read_history(path), read_calls(calls_file(path))
        summary = RunSummary.read(path) if (path / SUMMARY_FILE).exists() else None
        return cls(
            path.parent.name,
            path,
            TrainConfig.load(path / "config.json"),
            history,
            summary,
            calls,
            _add_times(calls, len(history), summary),
            read_json(score)["mean_iou"] if score.exists() else None,
        )

    @classmethod
    def read_published(cls, file: Path) -> "Record":
        """Reads the JSON file of a run that `to_dict` has described.

        Raises:
            ValueError: If it is another file, or a damaged one; the message names it.
        """
        content = read_json(file)
        try:
            summary = None
            if content["is_complete"]:
                scores = {**content["validation"]}
                iou = scores.pop("iou_per_class")
                seconds = content["seconds"] or math.nan
                summary = RunSummary(file, content["config"], seconds, scores, iou)
            curves = {
                name: [math.nan if value is None else value for value in values]
                for name, values in content["curves"].items()
            }
            return cls(
                content["name"],
                None,
                from_mapping(TrainConfig, content["config"]),
                [dict(zip(curves, row, strict=True)) for row in zip(*curves.values(), strict=True)],
                summary,
                [Call(**call) for call in content["calls"]],
                content["seconds"],
                content.get("mean_iou_without_attention"),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: not the JSON file of a run, or a damaged one") from error

    @property
    def file_name(self) -> str:
        """The name of its JSON file among the results."""
        return f"{self.name}-seed{self.config.seed}.json"

    @property
    def epochs(self) -> int:
        """Number of complete epochs."""
        return len(self.history)

    @property
    def best_score(self) -> float:
        """The highest mean IoU on the validation images after an epoch; NaN if there is none."""
        return max((row["val_mean_iou"] for row in self.history), default=math.nan)

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, that had it; 0 if there is none."""
        scores = [row["val_mean_iou"] for row in self.history]
        return scores.index(self.best_score) + 1 if scores else 0

    @property
    def last_scores(self) -> list[float]:
        """The mean IoU on the validation images after each of the last epochs, at most three."""
        return [row["val_mean_iou"] for row in self.history[-LAST_EPOCHS:]]

    @property
    def iou(self) -> Mapping[str, float]:
        """IoU of each class, by name; empty if the run has not ended."""
        return {} if self.summary is None else self.summary.iou

    @property
    def gamma_columns(self) -> list[str]:
        """The columns of the history that are attention scales, position first."""
        names = {name for row in self.history for name in row if name.startswith("gamma_")}
        return sorted(names, key=lambda name: (name.split("_")[1] != "position", name))

    @property
    def changes(self) -> dict[str, Any]:
        """The options that differ from the recipe, without the folders of this machine."""
        recipe = find(RECIPE).config
        return {
            field.name: value
            for field in dataclasses.fields(TrainConfig)
            if field.name not in (*_OF_THIS_MACHINE, "steps_per_epoch", "model", "seed")
            and (value := getattr(self.config, field.name)) != getattr(recipe, field.name)
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, ready for JSON, without the folders of this machine.

        Raises:
            ValueError: If the folder of the run is not here.
        """
        if self.folder is None:
            raise ValueError(f"{self.name}: the folder of this run is not here")
        options = self.config.to_dict()
        content: dict[str, Any] = {
            "name": self.name,
            "seed": self.config.seed,
            "epochs": self.epochs,
            "is_complete": self.summary is not None,
            "config": {k: v for k, v in options.items() if k not in _OF_THIS_MACHINE},
            "seconds": self.seconds,
            "calls": [dataclasses.asdict(call) for call in self.calls],
        }
        if self.summary is not None:
            content["best_epoch"] = self.best_epoch
            content["mean_iou_without_attention"] = self.without_attention
            content["validation"] = {
                **self.summary.scores,
                "iou_per_class": dict(self.summary.iou),
            }
            versions = read_json(self.folder / SUMMARY_FILE)
            content |= {
                key: versions[key]
                for key in ("versions", "devices", "class_weights")
                if key in versions
            }
        columns = dict.fromkeys(name for row in self.history for name in row if name != "epoch")
        content["curves"] = {
            name: [rounded(row.get(name, math.nan)) for row in self.history] for name in columns
        }
        return content


def rounded(value: float) -> float | None:
    """Returns a value with five significant digits; None if it is not a number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def read_records(runs: Path, published: Path | None = None) -> list[Record]:
    """Reads runs, in the order of their names and seeds.

    Args:
        runs: A folder with a folder `NAME/seedSEED` for each run.
        published: A folder with a JSON file for each of other runs, whose folders are elsewhere.
    """
    files = runs.glob("*/seed*/config.json")
    records = [Record.read(file.parent) for file in files]
    if published is not None:
        here = {record.file_name for record in records}
        elsewhere = [file for file in published.glob("*-seed*.json") if file.name not in here]
        records += [Record.read_published(file) for file in elsewhere]
    return sorted(records, key=lambda record: (record.name, record.config.seed))


def _add_times(calls: Sequence[Call], epochs: int, summary: RunSummary | None) -> float | None:
    """Returns the time of all processes of a run; None if a part of it was not recorded."""
    if calls and sum(call.last - call.first for call in calls) == epochs:
        return sum(call.seconds for call in calls)
    if summary is None or calls or summary.steps_before:
        return None
    return summary.seconds
