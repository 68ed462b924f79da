"""Pairs of images and annotations of a split by patterns of their paths, or by lists of files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pdanet_tf.base.fields import with_nearest
from pdanet_tf.data.endings import LABEL_ENDINGS
from pdanet_tf.data.patterns import FoundFile, FoundPairs, find_pairs
from pdanet_tf.data.problems import DataError, Problem, Severity
from pdanet_tf.data.readers import PathLike
from pdanet_tf.data.split_lists import split_by_lists, split_name

_SHOWN = 3


@dataclass
class PatternPairs:
    """The files of a split.

    Attributes:
        files: The pairs of image and annotation, in the order of the names.
        names: The name of each image: `{name}` with underscores for slashes.
        problems: The problems of all other files.
    """

    files: list[tuple[Path, Path]] = field(default_factory=list)
    names: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class FilePatterns:
    """Where the images and the annotations of a folder are, and which of them are of which split.

    Args:
        image: Pattern of the paths of images, see `pdanet_tf.data.patterns.find_files`; None for
            "images/{split}/{name}.*", with `lists` "images/{name}.*".
        annotation: Pattern of the paths of annotations; None for the same in `annotations`.
        lists: A text file of image names for each split, relative to the folder, see
            `pdanet_tf.data.split_lists.split_by_lists`; None if `{split}` tells the split.

    Raises:
        ValueError: If neither the patterns nor lists tell the split, or both do.
    """

    image: str | None = None
    annotation: str | None = None
    lists: Mapping[str, PathLike] | None = None

    def __post_init__(self) -> None:
        middle = "{name}.*" if self.lists else "{split}/{name}.*"
        for name, folder in (("image", "images"), ("annotation", "annotations")):
            if getattr(self, name) is None:
                object.__setattr__(self, name, f"{folder}/{middle}")
        has_split = "{split}" in f"{self.image}{self.annotation}"
        if has_split and self.lists:
            raise ValueError(
                "The patterns contain {split}, which tells the split of a file, so split_lists "
                "cannot be used. Write * in place of {split}, or leave split_lists out"
            )
        if not has_split and not self.lists:
            raise ValueError(
                "Neither image_pattern nor annotation_pattern contains {split}, which tells the "
                "split of a file. Add it, or set split_lists. Received: "
                f"image_pattern={self.image!r}, annotation_pattern={self.annotation!r}"
            )

    def find(self, root: Path, split: str, endings: Sequence[str]) -> PatternPairs:
        """Returns the files of a split.

        Args:
            root: The folder.
            split: Name of the split.
            endings: Extensions of images.

        Raises:
            ValueError: If a pattern has another field or lacks `{name}`.
        """
        result = PatternPairs()
        try:
            found = find_pairs(root, str(self.image), str(self.annotation), endings, LABEL_ENDINGS)
            splits = self._splits(root, [*(image for image, _ in found.pairs), *found.lone_images])
        except (DataError, OSError) as error:
            result.problems.append(_as_problem(root, error))
            return result
        split = split_name(split)
        if split not in splits.values():
            known = sorted({each for each in splits.values() if each is not None})
            result.problems.append(self._missing_split(root, split, known))
        taken: dict[str, FoundFile] = {}
        for image, annotation in sorted(found.pairs, key=lambda pair: pair[0].name):
            if (splits[image.path] or annotation.split) != split:
                continue
            name = image.name.replace("/", "_")
            first = taken.setdefault(name, image)
            if first is not image:
                text = f"is called {name!r} in results, as {first.path} is"
                result.problems.append(
                    Problem(str(image.path), "two images of one name", text, "Rename one of them")
                )
            result.names[image.path] = name
            result.files.append((image.path, annotation.path))
        result.problems += found.problems
        result.problems += self._lone_files(found, splits, split)
        return result

    def _splits(self, root: Path, images: Sequence[FoundFile]) -> dict[Path, str | None]:
        """Returns the split of every image; None if only that of its annotation is known."""
        if self.lists is None:
            return {image.path: image.split for image in images}
        lists = {split_name(split): root / file for split, file in self.lists.items()}
        return dict(
            zip(
                (image.path for image in images),
                split_by_lists([image.name for image in images], lists),
                strict=True,
            )
        )

    def _lone_files(
        self, found: FoundPairs, splits: Mapping[Path, str | None], split: str
    ) -> list[Problem]:
        """Returns the problems of images without annotation, and the other way round."""
        problems = []
        advice = "Add the annotations, or change annotation_pattern"
        if found.lone_annotations:
            names = [each.name for each in found.lone_annotations]
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            shown = ", ".join(map(repr, names[:_SHOWN]))
            advice += f"; annotations without image have the names {shown}{more}"
        for each in found.lone_images:
            text = f"has no annotation: {self.annotation!r} finds none of the name {each.name!r}"
            kind = "image without annotation"
            # If only annotations have a split, the image may belong to another split.
            is_unknown = splits[each.path] is None and self.lists is None
            if is_unknown or splits[each.path] == split:
                severity: Severity = "warning" if is_unknown else "fatal"
                problems.append(Problem(str(each.path), kind, text, advice, severity))
        for each in found.lone_annotations:
            text = f"has no image: {self.image!r} finds none of the name {each.name!r}"
            kind, severity = "annotation without image", "fatal" if each.split else "warning"
            if each.split in (split, None):
                advice = "Add the image, or remove the annotation"
                problems.append(Problem(str(each.path), kind, text, advice, severity))
        return problems

    def _missing_split(self, root: Path, split: str, known: Sequence[str]) -> Problem:
        what = "split_lists has" if self.lists else "the patterns find"
        wanted = split if not known else with_nearest([split], known)
        found = f"the splits {', '.join(known)}" if known else "no split"
        text = f"there is no image of the split {wanted}; {what} {found}"
        advice = "Set the split to one of these, or change the patterns or lists"
        return Problem(str(root), "missing split", text, advice)


def _as_problem(root: Path, error: DataError | OSError) -> Problem:
    """Returns the problem of patterns or lists that cannot be used."""
    if isinstance(error, DataError):
        return error.problem(str(root))
    text = f"the list cannot be read: {error.strerror or error}"
    advice = "split_lists names files relative to data_dir"
    return Problem(str(error.filename or root), "missing list", text, advice)
