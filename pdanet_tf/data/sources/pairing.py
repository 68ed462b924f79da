"""Pairs of images and annotations of the same name, in a folder for each split."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pdanet_tf.base.wording import quantity
from pdanet_tf.data.endings import IMAGE_ENDINGS, LABEL_ENDINGS
from pdanet_tf.data.patterns import same_form
from pdanet_tf.data.problems import Problem, printable

# The folder names that data sets use for each split.
_SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val")}
_NAMES_SHOWN = 5
_CREATE_AGAIN = ", created again: lossy formats such as JPEG change the values of the classes"
# Other names that the folder of annotations often has.
_ANNOTATION_FOLDERS = ("annotation", "labels", "label", "masks", "mask", "gt", "segmentation")
_SET_CHANNELS = "Set channels, the number of channels of the images, so that .npy files are read"
SET_FOLDER = "Set data_dir to the folder that contains images and annotations"


def split_folders(split: str) -> tuple[str, ...]:
    """Returns the names that the folder of a split can have."""
    return _SPLIT_FOLDERS.get(split, (split,))


@dataclass(frozen=True)
class Place:
    """Where the images of a split are, or its annotations.

    Attributes:
        kind: "images" or "annotations".
        parent: The folder that contains the folder of the split.
        names: The names that this can have.
    """

    kind: str
    parent: Path
    names: tuple[str, ...]


def usual_places(root: Path, split: str) -> tuple[Place, Place]:
    """Returns the places of the images and the annotations in the layout of `FolderDataset`."""
    names = split_folders(split)
    images, annotations = (root / kind for kind in ("images", "annotations"))
    return Place("images", images, names), Place("annotations", annotations, names)


def pair_files(
    image_place: Place, label_place: Place, split: str, endings: tuple[str, ...]
) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Returns the pairs of image and annotation, and the problems of all other files."""
    problems: list[Problem] = []
    images = _list_files(image_place, split, endings, problems)
    labels = _list_files(label_place, split, LABEL_ENDINGS, problems)
    ending = _common_ending(images.files, labels.files)
    if ending is not None:
        problems.append(_other_names(image_place, label_place, images, labels, ending))
    elif images.files and labels.files:
        for name in sorted(images.files.keys() - labels.files.keys()):
            problems.append(_without_partner(images.files[name], labels, "image", "annotation"))
        for name in sorted(labels.files.keys() - images.files.keys()):
            problems.append(_without_partner(labels.files[name], images, "annotation", "image"))
    both = sorted(images.files.keys() & labels.files.keys())
    return [(images.files[name], labels.files[name]) for name in both], problems


@dataclass
class _Listing:
    """The content of one folder of a split.

    Attributes:
        files: The files that are read, by name.
        unread: Files of other formats, by name.
        folders: Names of sub-folders.
    """

    files: dict[str, Path] = field(default_factory=dict)
    unread: dict[str, Path] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def describe_unread(self) -> str:
        """Describes the files and sub-folders that are not read; "" if there are none."""
        kinds = Counter(path.suffix.lower() for path in self.unread.values())
        parts = [
            quantity(count, f"{ending or 'other'} file") for ending, count in sorted(kinds.items())
        ]
        if self.folders:
            parts.insert(0, f"the sub-folder{'s' if len(self.folders) > 1 else ''} ")
            parts[0] += _shorten(self.folders)
        return ", ".join(parts)


def _common_ending(images: dict[str, Path], labels: dict[str, Path]) -> str | None:
    """Returns what every annotation's name has behind that of its image, such as "_mask"."""
    if not images or not labels or images.keys() & labels.keys():
        return None
    first = min(labels)
    start = max((name for name in images if first.startswith(name)), key=len, default=first)
    ending = first.removeprefix(start)
    return ending if ending and labels.keys() == {f"{name}{ending}" for name in images} else None


def _other_names(
    image_place: Place, label_place: Place, images: _Listing, labels: _Listing, ending: str
) -> Problem:
    image, label = images.files[min(images.files)], labels.files[min(labels.files)]
    patterns = [
        f"{place.parent.name}/{{split}}/{{name}}{end}{path.suffix}"
        for place, end, path in ((image_place, "", image), (label_place, ending, label))
    ]
    return Problem(
        str(label.parent),
        "annotations with other names",
        f"the names of all annotations end in {ending!r}, as in {label.name}, and those of the "
        f"images do not, as in {image.name}",
        f"Rename the annotations, or set image_pattern={patterns[0]!r} and "
        f"annotation_pattern={patterns[1]!r}",
    )


def _shorten(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name(path: Path) -> str:
    """Returns the name that an image and its annotation share."""
    return same_form(path.stem)


def _without_partner(path: Path, partners: _Listing, what: str, partner: str) -> Problem:
    text, advice = f"has no {partner}", f"Add an {partner} of the same name, or remove the {what}"
    unread = partners.unread.get(_name(path))
    if unread is not None:
        text += f"; {unread.name} is not read as one"
        advice = f"Save the {partner} as PNG"
        if partner == "annotation" and unread.suffix.lower() in IMAGE_ENDINGS:
            advice += _CREATE_AGAIN
        elif partner == "image" and unread.suffix.lower() == ".npy":
            advice = _SET_CHANNELS
    elif printable(path.stem) != path.stem:
        text += "; its name is not UTF-8, so it may differ from a name that looks the same"
        advice = "Rename all files to UTF-8"
    return Problem(str(path), f"{what} without {partner}", text, advice)


def _list_files(
    place: Place, split: str, endings: tuple[str, ...], problems: list[Problem]
) -> _Listing:
    """Lists one folder of a split, and appends its problems to `problems`."""
    parent, names = place.parent, place.names
    folder = next((parent / name for name in names if (parent / name).is_dir()), None)
    if folder is None:
        problems.append(
            _missing_split(parent, split, f"Expected a folder called {' or '.join(names)}")
        )
        return _Listing()
    found = _Listing()
    for path, is_folder in _list(folder):
        name = _name(path)
        if is_folder:
            found.folders.append(path.name)
        elif path.suffix.lower() not in endings:
            found.unread[name] = path
        elif name in found.files:
            problems.append(_same_name(path, found.files[name]))
        else:
            found.files[name] = path
    unread = found.describe_unread()
    if not found.files:
        problems.append(_empty_split(folder, place.kind, endings, found, unread))
    elif unread:
        problems.append(
            Problem(
                str(folder),
                "not read",
                f"also contains {unread}; none of this is read",
                f"Only the files {', '.join(f'*{ending}' for ending in endings)} in the folder "
                "itself are read",
                "warning" if found.folders else "note",
            )
        )
    return found


def _list(folder: Path) -> list[tuple[Path, bool]]:
    """Returns the sorted entries of a folder that are not hidden, and if each is a folder."""
    with os.scandir(folder) as entries:  # needs no system call per file
        return sorted(
            (Path(entry.path), entry.is_dir()) for entry in entries if entry.name[0] != "."
        )


def _missing_split(parent: Path, split: str, advice: str) -> Problem:
    text = f"there is no folder for the split {split!r}"
    nearest = parent if parent.is_dir() else parent.parent
    folders = [path.name for path, is_folder in _list(nearest) if is_folder]
    if nearest != parent:
        advice = f"Expected a folder called {parent.name}. {SET_FOLDER}"
    if folders:
        text += (
            f"; {nearest} contains the folder{'s' if len(folders) > 1 else ''} {_shorten(folders)}"
        )
        likely = [name for name in folders if name.lower() in _ANNOTATION_FOLDERS]
        if nearest != parent and parent.name == "annotations" and len(likely) == 1:
            advice = f"If {likely[0]} contains the annotations, rename it to annotations"
        elif split == "validation" and nearest == parent:
            advice += ". Move some of the pairs there, which are then not trained on"
    elif nearest == parent:
        count = sum(not is_folder for _, is_folder in _list(parent))
        if count:
            text += f"; {quantity(count, 'file')} {'lies' if count == 1 else 'lie'} in {parent}"
            advice += f". Move files to {parent / split}"
    return Problem(str(parent), "missing split", text, advice)


def _same_name(path: Path, first: Path) -> Problem:
    text = f"there is also {first.name}; only one file may have this name"
    if path.stem != first.stem:
        text = f"there is also {first.name}, the same name in another Unicode form (NFC or NFD)"
    return Problem(str(path), "two files of one name", text, "Keep one of them")


def _empty_split(
    folder: Path, kind: str, endings: tuple[str, ...], found: _Listing, unread: str
) -> Problem:
    text = f"contains no {kind} ({', '.join(endings)})"
    if not unread:
        return Problem(str(folder), "empty split", text, SET_FOLDER)
    text += f", but {unread}"
    if found.folders:
        advice = f"Move the files from the sub-folders to {folder.name} itself"
    else:
        advice = f"Save the {kind} as PNG"
        if kind == "images" and any(
            path.suffix.lower() == ".npy" for path in found.unread.values()
        ):
            advice = _SET_CHANNELS
        elif any(path.suffix.lower() in IMAGE_ENDINGS for path in found.unread.values()):
            advice += _CREATE_AGAIN
    return Problem(str(folder), "empty split", text, advice)
