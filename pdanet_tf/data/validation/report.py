"""Validates a whole data set: problems, statistics, and the report that shows them."""

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
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.base.wording import quantity
from pdanet_tf.charts import draw_bar_chart
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.dataset import SegmentationDataset
from pdanet_tf.data.problems import Problem, Severity, group_problems, list_group
from pdanet_tf.data.validation.image import ImageReport
from pdanet_tf.data.validation.split import SplitStatistics, fatal_split_problems
from pdanet_tf.files import write_atomically

_SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class ValidationReport:
    """The problems and the statistics of a data set.

    Attributes:
        classes: Names and colours of the classes.
        splits: The statistics of each split, under its name.
        problems: The problems, fatal ones first.
    """

    classes: Classes
    splits: dict[str, SplitStatistics]
    problems: tuple[Problem, ...]

    @property
    def fatal(self) -> bool:
        """Whether training or scoring would fail, or silently give wrong results."""
        return any(problem.severity == "fatal" for problem in self.problems)

    def summary(self) -> str:
        """Returns the problems as text, grouped by kind, with up to five files of each kind."""
        lines = []
        for group in group_problems(self.problems):
            lines.append(f"{group[0].severity}: {group[0].kind} ({len(group)})")
            lines += list_group(group)
        counts = Counter(problem.severity for problem in self.problems)
        found = ", ".join(f"{severity}: {counts[severity]}" for severity in _SEVERITIES)
        images = " and ".join(f"{split.images} of {name}" for name, split in self.splits.items())
        return "\n".join([*lines, f"Images: {images}. Problems: {found}."])

    def table(self) -> Table:
        """Returns a table of the frequency of each class, to be printed with rich."""
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
        table.add_row("unlabelled, of all pixels", *ignored)
        table.add_row("all images", *images)
        return table

    def chart(self) -> Image.Image:
        """Draws a bar chart of the share of each class in the labelled pixels of all splits."""
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
        """Returns the whole report as a dictionary, ready for JSON."""
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
        """Writes the whole report as JSON."""
        write_atomically(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")


def validate_dataset(
    dataset: SegmentationDataset | Mapping[str, SegmentationDataset],
    progress: bool = True,
    workers: int | None = None,
) -> ValidationReport:
    """Reads a whole data set, and reports what would go wrong in training or scoring.

    Memory does not grow with the size of the images: of each image, only its counts and a hash are
    kept.

    Args:
        dataset: One split; or several splits of one data set under their names, which are then
            also searched for images that they share. If a `FolderDataset` was opened with
            `strict=False`, the report lists its files without a partner; otherwise, opening it
            raises an error.
        progress: Whether to show a progress bar.
        workers: Number of threads that read; None for one per core.

    Returns:
        The report, which does not depend on the number of workers.

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
            f"Expected at least one split, and the same classes in every split. Received: "
            f"{', '.join(splits) or 'no split'}"
        )
    problems: list[Problem] = []
    statistics: dict[str, SplitStatistics] = {}
    duplicates = _DuplicateFinder()
    for name, split in splits.items():
        statistics[name] = SplitStatistics.for_dataset(split)
        image_problems: list[Problem] = []
        for report in track(
            map_in_threads(split.examine, len(split), workers),
            f"reading {name}",
            len(split),
            progress,
        ):
            statistics[name].add(report)
            image_problems += [*report.problems, *duplicates.find(name, report)]
        problems += [*split.problems, *image_problems]
        problems += fatal_split_problems(name, split, statistics[name])
        problems += _split_warnings(name, split, statistics[name])
    problems += _format_problems(splits)
    problems.sort(key=lambda problem: (_SEVERITIES.index(problem.severity), problem.kind))
    return ValidationReport(every.pop(), statistics, tuple(problems))


def _format_problems(splits: Mapping[str, SegmentationDataset]) -> Iterator[Problem]:
    """Yields a problem for each split whose images have another format than the first one's."""
    first, *others = splits.items()
    for name, split in others:
        if split.pixel_format != first[1].pixel_format:
            yield Problem(
                name,
                "other type of values",
                f"the images have {split.pixel_format}, those of {first[0]} have "
                f"{first[1].pixel_format}",
                "Save all images in the same format",
            )


class _DuplicateFinder:
    """Finds images of equal pixels: it keeps hashes of the pixels and labels of each image."""

    def __init__(self) -> None:
        self._images: dict[bytes, tuple[str, str, bytes | None]] = {}

    def find(self, split: str, report: ImageReport) -> Iterator[Problem]:
        """Yields a problem if an earlier image has the same pixels; otherwise, adds the image."""
        if report.image_hash is None:
            return
        first = self._images.setdefault(report.image_hash, (split, report.file, report.label_hash))
        first_split, first_file, first_labels = first
        if (first_split, first_file) == (split, report.file):
            return
        text = f"has the same pixels as {first_file}"
        if first_labels != report.label_hash:
            text += ", but different labels"
        if first_split == split:
            yield Problem(report.file, "duplicate", text, "Keep one of them", "warning")
        else:
            yield Problem(
                report.file,
                "image in two splits",
                f"{text}, in the split {first_split}",
                "Remove it from one of them: scores on images seen in training are too high",
                "warning",
            )


def _split_warnings(
    name: str, dataset: SegmentationDataset, split: SplitStatistics
) -> Iterator[Problem]:
    """Yields the problems that are not fatal and show only in the whole split."""
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
            "Classes missing from training cannot be learnt; classes missing from validation "
            "count as 0 in the mean over all classes",
            "warning",
        )
    if split.ignored_pixels > labelled:
        yield Problem(
            name,
            "mostly unlabelled",
            f"{split.ignored_pixels / (split.ignored_pixels + labelled):.0%} of all pixels are "
            "unlabelled",
            "Check label_offset and ignore_label",
            "warning",
        )
    if dataset.label_offset == 0 and dataset.num_classes > 2:
        yield from _label_0_warnings(name, dataset, split)


def _label_0_warnings(
    name: str, dataset: SegmentationDataset, split: SplitStatistics
) -> Iterator[Problem]:
    first = dataset.classes.names[0]
    if split.pixels[0] == 0:
        yield Problem(
            name,
            "labels from 1",
            f"the label 0 ({first}) does not occur",
            "If the labels begin at 1, set label_offset=1: otherwise every class has the name of "
            "the class before it",
            "warning",
        )
    elif (
        first.strip("_ ").lower() != "background"
        and split.shares[0] > 0.5
        and split.images_per_class[0] > 0.9 * split.images
    ):
        yield Problem(
            name,
            "label 0 everywhere",
            f"the label 0 ({first}) covers {split.shares[0]:.0%} of the labelled pixels, and "
            f"occurs in {split.images_per_class[0]} of {split.images} images",
            'If it stands for "other", set label_offset=1, so that it is ignored',
            "warning",
        )
