"""The summaries of several runs, side by side. It imports neither Keras nor TensorFlow."""

import csv
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table
from rich.text import Text

from pdanet_tf.base.fields import shorten
from pdanet_tf.base.wording import quantity
from pdanet_tf.charts import draw_bar_chart
from pdanet_tf.files import read_json, write_atomically

SUMMARY_FILE = "summary.json"
HISTORY_FILE = "history.csv"
_BEGUN_FILES = (HISTORY_FILE, "last.keras")  # the second one alone before the first epoch ends
# Options that do not make runs different from one another: where they are, their seed, and how
# often their state is saved.
_NOT_COMPARED = (
    "output_dir",
    "data_dir",
    "seed",
    "resume",
    "version",
    "checkpoint_every",
    "keep_checkpoints",
)
_SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy")


@dataclass(frozen=True)
class RunSummary:
    """What `summary.json` says of a run that has ended.

    Attributes:
        folder: The folder of the run.
        config: Its options.
        seconds: How long its last call took.
        scores: The scores of its best model on the validation split, from 0 to 1, by name.
        iou: IoU of each class, by name.
        devices: The devices that trained, by TensorFlow's names; empty if not known.
        versions: Versions of the packages, by name; empty if not known.
        steps_before: Number of steps that earlier calls had done, whose time is not in `seconds`.
    """

    folder: Path
    config: Mapping[str, Any]
    seconds: float
    scores: Mapping[str, float]
    iou: Mapping[str, float]
    devices: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    steps_before: int = 0

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "RunSummary":
        """Reads the `summary.json` of a run.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is not the summary of a run; the message names the file.
        """
        file = Path(folder) / SUMMARY_FILE
        content = read_json(file)
        try:
            validation = content["validation"]
            scores = {name: float(validation[name]) for name in _SCORES}
            iou = {str(key): float(value) for key, value in validation["iou_per_class"].items()}
            return cls(
                Path(folder),
                dict(content["config"]),
                float(content["seconds"]),
                scores,
                iou,
                tuple(map(str, content.get("devices", ()))),
                {str(key): str(value) for key, value in content.get("versions", {}).items()},
                int(content.get("steps_before", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: not the summary of a run, or a damaged one") from error

    @property
    def options(self) -> dict[str, Any]:
        """The options by which runs are compared."""
        return {key: value for key, value in self.config.items() if key not in _NOT_COMPARED}


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in nothing but their seeds.

    Attributes:
        runs: The runs, at least one.
        differences: Those of their options that other groups have with another value.
    """

    runs: Sequence[RunSummary]
    differences: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The model, and what else distinguishes the group."""
        options = {name: value for name, value in self.differences.items() if name != "model"}
        rest = [f"{name}={shorten(value)}" for name, value in options.items()]
        return " ".join([str(self.runs[0].config.get("model")), *rest])

    def mean(self, score: str) -> float:
        """Returns the mean of a score over the runs."""
        return statistics.fmean(run.scores[score] for run in self.runs)

    @property
    def seconds(self) -> float:
        """The mean time of the last calls of the runs."""
        return statistics.fmean(run.seconds for run in self.runs)

    @property
    def minutes(self) -> str:
        """The mean time in minutes; with ">" if a run was resumed, so that it took longer."""
        is_resumed = any(run.steps_before for run in self.runs)
        return f"{'> ' if is_resumed else ''}{self.seconds / 60:.1f}"

    def spread(self, score: str) -> float:
        """Returns the standard deviation of a score (that of a sample); NaN for a single run."""
        values = [run.scores[score] for run in self.runs]
        return statistics.stdev(values) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        groups: Runs that differ only in their seeds; the group with the best mean IoU comes first.
        unfinished: The folders of runs that have not ended, with their numbers of complete epochs.
    """

    groups: Sequence[RunGroup]
    unfinished: Mapping[Path, int] = field(default_factory=dict)

    @classmethod
    def of_folders(cls, folders: Iterable[str | os.PathLike[str]]) -> "RunComparison":
        """Reads the summaries of runs, and of all runs below folders.

        Args:
            folders: Folders of runs, or folders that contain them at any depth.

        Raises:
            FileNotFoundError: If there is no such folder, or no run in it that has ended.
            ValueError: If a summary is damaged.
        """
        found: dict[Path, RunSummary] = {}
        unfinished: dict[Path, tuple[Path, int]] = {}
        for folder in map(Path, folders):
            if not folder.is_dir():
                raise FileNotFoundError(f"There is no folder {folder}")
            files = sorted(folder.rglob(SUMMARY_FILE))
            if not files:
                raise FileNotFoundError(
                    f"{folder} contains no run that has ended: there is no {SUMMARY_FILE}"
                )
            for file in files:
                found.setdefault(file.parent.resolve(), RunSummary.read(file.parent))
            begun = {file.parent for name in _BEGUN_FILES for file in folder.rglob(name)}
            for run in sorted(begun):
                if not (run / SUMMARY_FILE).exists():
                    unfinished.setdefault(run.resolve(), (run, _count_rows(run / HISTORY_FILE)))
        return cls(_grouped(list(found.values())), dict(unfinished.values()))

    def table(self) -> Table:
        """Returns a table for `rich.print`, a line for each group."""
        table = Table(title=quantity(sum(len(group.runs) for group in self.groups), "run"))
        table.add_column("model, and options that differ")
        for heading in ("seeds", "mean IoU", "pixel accuracy", "mean accuracy", "minutes"):
            table.add_column(heading, justify="right")
        for group in self.groups:
            seeds = ", ".join(str(run.config.get("seed")) for run in group.runs)
            scores = [_with_spread(group.mean(each), group.spread(each)) for each in _SCORES]
            table.add_row(Text(group.title), seeds, *scores, group.minutes)
        if self.unfinished:
            runs = [f"{path} ({quantity(n, 'epoch')})" for path, n in self.unfinished.items()]
            table.caption = Text(f"Not ended: {', '.join(runs)}")
        return table

    def chart(self) -> Image.Image:
        """Draws the mean IoU of every group as a bar."""
        names = [group.title for group in self.groups]
        values = [group.mean("mean_iou") for group in self.groups]
        return draw_bar_chart(names, values, "Scores on the validation split", "mean IoU (0 to 1)")

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures, ready for JSON."""
        return {
            "groups": [
                {
                    "options": dict(group.runs[0].options),
                    "differences": dict(group.differences),
                    "seconds": group.seconds,
                    "scores": {name: group.mean(name) for name in _SCORES},
                    "standard_deviations": {
                        name: None if math.isnan(group.spread(name)) else group.spread(name)
                        for name in _SCORES
                    },
                    "runs": [
                        {
                            "folder": str(run.folder),
                            "seed": run.config.get("seed"),
                            "seconds": run.seconds,
                            "steps_before": run.steps_before,
                            **run.scores,
                            "iou_per_class": dict(run.iou),
                        }
                        for run in group.runs
                    ],
                }
                for group in self.groups
            ],
            "unfinished": [
                {"folder": str(folder), "epochs": epochs}
                for folder, epochs in self.unfinished.items()
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")


def _grouped(runs: Sequence[RunSummary]) -> list[RunGroup]:
    groups: list[list[RunSummary]] = []
    for run in runs:
        equal = (group for group in groups if group[0].options == run.options)
        if (group := next(equal, None)) is None:
            groups.append([run])
        else:
            group.append(run)
    first = groups[0][0].options
    different = [
        name
        for name in dict.fromkeys(name for run in runs for name in run.options)
        if any(group[0].options.get(name) != first.get(name) for group in groups)
    ]
    compared = [
        RunGroup(group, {name: group[0].options.get(name) for name in different})
        for group in groups
    ]
    return sorted(compared, key=lambda group: group.mean("mean_iou"), reverse=True)


def _count_rows(history: Path) -> int:
    """Returns the number of epochs in a history that may be damaged, or missing."""
    if not history.is_file():
        return 0
    with history.open(newline="", encoding="utf-8", errors="replace") as file:
        return max(0, sum(any(row) for row in csv.reader(file)) - 1)


def _with_spread(mean: float, spread: float) -> str:
    return f"{mean:.4f}" if math.isnan(spread) else f"{mean:.4f} ± {spread:.4f}"
