"""Splits images reproducibly: stratified by class, by lists of files, or by group."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.importing.source import SourceImage
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.split_lists import split_by_lists

_SHOWN = 5


def find_groups(names: Sequence[str], pattern: str) -> list[str]:
    """Returns the group of each image: what a regular expression finds in its name.

    Args:
        names: Names of the images.
        pattern: The expression; if it has a part in parentheses, that is the group.

    Raises:
        ValueError: If it is not an expression, or finds nothing in a name.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"group_pattern must be a regular expression: {error}. Received: "
            f"group_pattern={pattern!r}"
        ) from error
    groups, missing = [], []
    for name in names:
        match = expression.search(name)
        if match is None:
            missing.append(name)
        else:
            groups.append(match[1] if expression.groups and match[1] else match[0])
    if missing:
        raise DataError(
            Problem(
                ", ".join(missing[:_SHOWN]),
                "no group",
                f"group_pattern={pattern!r} finds nothing in {quantity(len(missing), 'name')}",
                "Change the expression so that it fits every name",
            )
        )
    return groups


def stratified(presence: np.ndarray, groups: Sequence[str], share: float, seed: int) -> list[bool]:
    """Chooses the images of validation so that every class occurs there in its share.

    Args:
        presence: Whether each image has each class, `(images, classes)`, bool.
        groups: The group of each image; groups are not divided.
        share: Share of validation, from 0 to 1.
        seed: Seed of the order in which equal groups are taken.

    Returns:
        Whether each image belongs to validation. A class that occurs in at least two groups gets at
        least one of them if that is possible.

    Source:
        Sechidis et al. 2011, "On the Stratification of Multi-Label Data", algorithm 1: the rarest
        class first, each time to the split that lacks most of it.
    """
    names = sorted(set(groups))
    index = {name: position for position, name in enumerate(names)}
    counts = np.zeros((len(names), presence.shape[1]))
    sizes = np.zeros(len(names))
    for group, row in zip(groups, presence, strict=True):
        counts[index[group]] += row
        sizes[index[group]] += 1
    shares = np.array([1 - share, share])
    wanted = shares[:, None] * counts.sum(0)  # images of each class that each split lacks
    if share:
        wanted[1] = np.maximum(wanted[1], (counts > 0).sum(0) > 1)
    lacking = shares * sizes.sum()
    chosen = np.full(len(names), -1)
    order = np.random.default_rng(seed).permutation(len(names))
    while (chosen < 0).any():
        left = order[chosen[order] < 0]
        frequency = (counts[left] > 0).sum(0)
        present = np.flatnonzero(frequency)
        rarest = present[frequency[present].argmin()] if present.size else None
        for group in left if rarest is None else left[counts[left, rarest] > 0]:
            need = lacking if rarest is None else wanted[:, rarest]
            is_tie = need[0] == need[1]
            split = int(np.argmax(lacking if is_tie else need)) if share else 0
            chosen[group] = split
            wanted[split] -= counts[group]
            lacking[split] -= sizes[group]
    return [bool(chosen[index[group]]) for group in groups]


@dataclass(frozen=True)
class Splitting:
    """How images are divided.

    Attributes:
        lists: A text file of names for each split; None without lists.
        validation_share: Share of the split "validation", if there are neither lists nor splits in
            the source.
        group_pattern: Regular expression that finds the group of an image in its name.
        seed: Seed of the order.
    """

    lists: Mapping[str, PathLike] | None
    validation_share: float
    group_pattern: str | None
    seed: int

    def check(self, images: Sequence[SourceImage]) -> None:
        """Checks, before anything is drawn, that the images can be divided so."""
        names = [image.name for image in images]
        _check_names({image.split for image in images if image.split is not None})
        if self.lists:
            if self.group_pattern is not None:
                raise ValueError("Set split_lists or group_pattern, not both")
            _check_names(self.lists)
            if not any(split_by_lists(names, self.lists)):
                raise DataError("The lists of split_lists contain no image. Write one name a line")
        elif self.group_pattern is not None:
            if any(image.split for image in images):
                raise ValueError("The source has splits, so group_pattern cannot be used")
            find_groups(names, self.group_pattern)

    def split(self, images: Sequence[SourceImage], presence: np.ndarray) -> list[str | None]:
        """Returns the split of each image; None for those that are left out.

        Args:
            images: The images.
            presence: Whether each image has each class, `(images, classes)`, bool.
        """
        names = [image.name for image in images]
        if self.lists:
            return split_by_lists(names, self.lists)
        if any(image.split for image in images):
            return [image.split for image in images]
        groups = find_groups(names, self.group_pattern) if self.group_pattern else names
        chosen = stratified(presence, groups, self.validation_share, self.seed)
        return ["validation" if each else "train" for each in chosen]


def _check_names(splits: Iterable[str]) -> None:
    """Checks that splits can be names of folders."""
    for split in splits:
        if not re.fullmatch(r"\w[\w.-]*", split):
            raise ValueError(
                "The name of a split must be one word, such as train or validation. Received: "
                f"{split!r}"
            )
