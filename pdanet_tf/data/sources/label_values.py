"""The values of annotation files: those of classes, and those of unlabelled pixels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pdanet_tf.base.ignore_labels import ignored_values, spell_ignore_label
from pdanet_tf.data.problems import Problem
from pdanet_tf.data.readers import PathLike, image_mode


class LabelValues:
    """What the values of annotation files mean.

    Args:
        num_classes: Number of classes.
        label_offset: The value of the first class; lower values are unlabelled.
        ignore_label: The value, or the values, of unlabelled pixels; None takes 255 unless that is
            a class.
        void_label: The label of unlabelled pixels in memory.

    Attributes:
        classes: The values of the classes.
        ignored: The values of unlabelled pixels.

    Raises:
        ValueError: If `label_offset` is negative, or `ignore_label` holds a negative value, a value
            twice or the value of a class.
    """

    def __init__(
        self,
        num_classes: int,
        label_offset: int,
        ignore_label: int | Sequence[int] | None,
        void_label: int,
    ) -> None:
        if label_offset < 0:
            raise ValueError(f"label_offset must be at least 0. Received: {label_offset}")
        self.classes = range(label_offset, label_offset + num_classes)
        values = ignored_values(ignore_label)
        collisions = [str(value) for value in values if value in self.classes]
        if collisions:
            raise ValueError(
                f"ignore_label must not contain a class. With label_offset={label_offset} the "
                f"classes have the values {self.classes[0]} to {self.classes[-1]}, which include "
                f"{', '.join(collisions)}. Received: {spell_ignore_label(values)}"
            )
        self._named = values
        self.ignored = (255,) if ignore_label is None and 255 not in self.classes else values
        self._void_label = void_label

    def to_labels(self, raw: np.ndarray) -> np.ndarray:
        """Returns the label map of the values of a file, with classes from 0."""
        label = raw - self.classes.start
        label[(label < 0) | (label >= len(self.classes))] = self._void_label
        return label

    def is_wrong(self, raw: np.ndarray) -> np.ndarray:
        """Returns where the values of a file mark neither a class nor unlabelled pixels."""
        wrong = raw >= self.classes.stop
        for value in self.ignored:
            wrong &= raw != value
        return wrong

    def problem(self, path: PathLike, values: np.ndarray) -> Problem:
        """Returns the problem of a file that contains values out of range."""
        shown = ", ".join(str(value) for value in values[:10]) + (
            ", ..." if len(values) > 10 else ""
        )
        start = self.classes.start + 1
        if values.tolist() == [255]:
            spelled = spell_ignore_label(tuple(sorted({*self._named, 255})))
            advice = f"255 usually marks unlabelled pixels: if it does, set {spelled}"
        else:
            more = int(values.max()) - self.classes.start + 1
            advice = (
                f"If the classes begin at {start}, set label_offset={start}; if a value marks "
                "unlabelled pixels, add it to ignore_label"
            )
            if more <= 2 * len(self.classes):  # others are hardly classes
                advice = f"If there are {more} classes, set num_classes={more}. {advice}"
        return Problem(
            str(path),
            "labels out of range",
            f"contains the labels {shown}, but with num_classes={len(self.classes)} and "
            f"label_offset={self.classes.start} the highest is {self.classes[-1]}",
            advice,
        )

    def warnings(self, path: Path, values: list[int]) -> Iterator[Problem]:
        """Yields the unusual properties of a file that contains values."""
        if image_mode(path) == "P":
            yield Problem(
                str(path),
                "palette annotation",
                "the annotation has a palette, whose indices are read as the classes",
                "Make sure that every index is the value of a class; the colours are not read",
                "warning",
            )
        if values == [0, 255] and len(self.classes) > 1 and 255 not in self.classes:
            yield Problem(
                str(path),
                "only 0 and 255",
                "the annotation contains only 0 and 255, like a mask painted in black and white",
                "If 255 stands for a class, replace it by the value of the class",
                "warning",
            )
