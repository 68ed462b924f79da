"""What would go wrong with a data set, found out before anyone trains for a day."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table
from rich.text import Text

from pdanet_tf.base.progress import track
from pdanet_tf.base.wording import quantity
from pdanet_tf.charts import draw_bar_chart
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.examination import Examination, examine_all
from pdanet_tf.data.problems import Problem, Severity, group_problems, list_group
from pdanet_tf.data.statistics import SplitStatistics, judge_split
from pdanet_tf.files import write_atomically

_SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class ValidationReport:
    """What is wrong with a data set, and what is in it.

    Attributes:
        classes: Names and colours of the classes.
        splits: The statistics of each split, under its name.
        problems: What is wrong, the fatal first.
    """

    classes: Classes
    splits: dict[str, SplitStatistics]
    problems: tuple[Problem, ...]

    @property
    def fatal(self) -> bool:
        """Whether training or scoring would fail, or go wrong unseen."""
        return any(problem.severity == "fatal" for problem in self.problems)

    def summary(self) -> str:
        """Returns the problems in words: by kind, with a few files of each."""
        lines = []
        for group in group_problems(self.problems):
            lines.append(f"{group[0].severity}: {group[0].kind} ({len(group)})")
            lines += list_group(group)
        counts = Counter(problem.severity for problem in self.problems)
        found = ", ".join(f"{severity}: {counts[severity]}" for severity in _SEVERITIES)
        images = " and ".join(f"{split.images} of {name}" for name, split in self.splits.items())
        return "\n".join([*lines, f"Images: {images}. Problems: {found}."])

    def table(self) -> Table:
        """Returns a table of the classes' frequencies, to be printed by rich."""
        table = Table(title="Share of the labelled pixels, and number of images")
        table.add_column("class")
        for name in self.splits:
            table.add_column(name, justify="right")
            table.add_column("images", justify="right")
        for index, name in enumerate(self.classes.names):
            cells = []
            for split in self.splits.values():
                missing = split.pixels[index] == 0
                cells.append("missing" if missing else f"{100 * split.shares[index]:.3f}%")
                cells.append(str(split.images_per_class[index]))
            table.add_row(Text(name), *cells)
        table.add_section()
        ignored, images = [], []
        for split in self.splits.values():
            total = max(int(split.pixels.sum()) + split.ignored_pixels, 1)
            ignored += [f"{100 * split.ignored_pixels / total:.3f}%", ""]
            images += ["", str(split.images)]
        table.add_row("without a class, of all pixels", *ignored)
        table.add_row("all images", *images)
        return table

    def chart(self) -> Image.Image:
        """Draws the share of every class in the labelled pixels of all splits as a bar."""
        pixels = np.sum([split.pixels for split in self.splits.values()], axis=0)
        images = sum(split.images for split in self.splits.values())
        return draw_bar_chart(
            self.classes.names,
            (100 * pixels / max(int(pixels.sum()), 1)).tolist(),
            f"Frequency of the classes in {quantity(images, 'image')}",
            "share of the labelled pixels (%)",
            self.classes.colors,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns everything under plain names, ready for JSON."""
        return {
            "fatal": self.fatal,
            "splits": {
                name: {
                    "images": split.images,
                    "labelled_pixels": int(split.pixels.sum()),
                    "ignored_pixels": split.ignored_pixels,
                    "classes": {
                        class_name: {"pixels": pixels, "share": share, "images": images}
                        for class_name, pixels, share, images in zip(
                            self.classes.names,
                            split.pixels.tolist(),
                            split.shares.tolist(),
                            split.images_per_class.tolist(),
                            strict=True,
                        )
                    },
                    "sizes": [
                        {"height": height, "width": width, "images": count}
                        for (height, width), count in sorted(split.sizes.items())
                    ],
                }
                for name, split in self.splits.items()
            },
            "problems": [asdict(problem) for problem in self.problems],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")


def validate_dataset(
    dataset: SegmentationDataset | Mapping[str, SegmentationDataset],
    progress: bool = True,
    workers: int | None = None,
) -> ValidationReport:
    """Reads a whole data set, and tells what would go wrong in training or scoring.

    What is kept of an image is what it adds to the counts, and a hash.

    Args:
        dataset: Images and labels; or several splits of one data set under their names, which are
            then searched for images that they share. A `FolderDataset` opened with
            `strict=False` has files without a partner listed, too, in place of an error.
        progress: Whether to show a progress bar.
        workers: Number of threads that read; None for one per core.

    Returns:
        The report, the same whatever the number of workers.

    Raises:
        ValueError: If there is no split, or the splits have different classes.

    Example:
        ```python
        splits = {
            split: pdanet_tf.load_dataset("camvid", split, "CamVid", strict=False)
            for split in ("train", "validation")
        }
        report = validate_dataset(splits)
        print(report.summary())
        rich.print(report.table())
        ```
    """
    splits = dataset if isinstance(dataset, Mapping) else {"all": dataset}
    every = {split.classes for split in splits.values()}
    if len(every) != 1:
        raise ValueError(
            f"Expected at least one split, all of the same classes. Received: {', '.join(splits)}"
        )
    problems: list[Problem] = []
    statistics: dict[str, SplitStatistics] = {}
    seen = _Seen()
    for name, split in splits.items():
        statistics[name] = SplitStatistics.of(split)
        of_files: list[Problem] = []
        for found in track(
            examine_all(split.examine, len(split), workers),
            f"reading {name}",
            len(split),
            progress,
        ):
            statistics[name].add(found)
            of_files += [*found.problems, *seen.duplicates(name, found)]
        problems += [*split.problems, *of_files]
        problems += judge_split(name, split, statistics[name])
        problems += _remarks_on_split(name, split, statistics[name])
    problems.sort(key=lambda problem: (_SEVERITIES.index(problem.severity), problem.kind))
    return ValidationReport(every.pop(), statistics, tuple(problems))


class _Seen:
    """The images that were read so far: of each, a hash of its pixels and of its labels."""

    def __init__(self) -> None:
        self._images: dict[bytes, tuple[str, str, bytes | None]] = {}

    def duplicates(self, split: str, found: Examination) -> Iterator[Problem]:
        """Yields a problem if an image was there before, and remembers it if not."""
        if found.image_hash is None:
            return
        first = self._images.setdefault(found.image_hash, (split, found.file, found.label_hash))
        first_split, first_file, first_labels = first
        if (first_split, first_file) == (split, found.file):
            return
        text = f"has the same pixels as {first_file}"
        if first_labels != found.label_hash:
            text += ", but other labels"
        if first_split == split:
            yield Problem(found.file, "duplicate", text, "Keep one of them", "warning")
        else:
            yield Problem(
                found.file,
                "image in two splits",
                f"{text}, in the split {first_split}",
                "Take it out of one of them: a score on images seen in training is too good",
                "warning",
            )


def _remarks_on_split(
    name: str, dataset: SegmentationDataset, split: SplitStatistics
) -> Iterator[Problem]:
    """Yields what is not fatal, and shows in the whole split only."""
    labelled = int(split.pixels.sum())
    if not labelled:
        return
    missing = np.flatnonzero(split.pixels == 0)
    if missing.size:
        names = [dataset.classes.names[index] for index in missing]
        shown = ", ".join(names[:_NAMES_SHOWN])
        if missing.size > _NAMES_SHOWN:
            shown += f" and {missing.size - _NAMES_SHOWN} more"
        yield Problem(
            name,
            "missing classes",
            f"no pixel has the class {shown}",
            "What training never shows is not learnt, and what validation lacks scores 0 in the "
            "mean over all classes",
            "warning",
        )
    if split.ignored_pixels > labelled:
        yield Problem(
            name,
            "mostly without class",
            f"{split.ignored_pixels / (split.ignored_pixels + labelled):.0%} of all pixels have "
            "no class",
            "Make sure that label_offset and ignore_label are right",
            "warning",
        )
    if dataset.label_offset == 0 and dataset.num_classes > 2:
        yield from _remarks_on_label_0(name, dataset, split)


def _remarks_on_label_0(
    name: str, dataset: SegmentationDataset, split: SplitStatistics
) -> Iterator[Problem]:
    first = dataset.classes.names[0]
    if split.pixels[0] == 0:
        yield Problem(
            name,
            "labels from 1",
            f"the label 0 ({first}) occurs nowhere",
            "If the labels begin at 1, set label_offset=1: else every class goes by the name of "
            "the one before it",
            "warning",
        )
    elif split.shares[0] > 0.5 and split.images_per_class[0] > 0.9 * split.images:
        yield Problem(
            name,
            "label 0 everywhere",
            f"the label 0 ({first}) has {split.shares[0]:.0%} of the labelled pixels, and is in "
            f"{split.images_per_class[0]} of {split.images} images",
            'If it stands for "other", set label_offset=1, so that it does not count',
            "warning",
        )
