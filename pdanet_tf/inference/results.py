"""The result files of images: their names, and how they are told from other files."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from PIL import Image

from pdanet_tf.data.endings import CHANNEL_ENDINGS
from pdanet_tf.data.problems import DataError
from pdanet_tf.files import describe_reason, remove_leftovers
from pdanet_tf.inference.marked_png import hash_pixels, save_marked

KINDS = ("labels", "overlay")
SOURCE_KEY = "pdanet_tf source"  # of the hashes in a result, see `mark_of`


def resolved(path: Path) -> Path:
    """Returns the file that a path leads to; the path itself if it leads nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, or a null character
        return path


def result_stem(place: str, is_alone: bool) -> str:
    """Returns the path of the results of an image without `_labels.png`.

    Args:
        place: The place of the image in its source, such as "street/a.jpg".
        is_alone: Whether no other image of the folder has this name but for its extension.

    Returns:
        "street/a"; "street/a.jpg" if there is also a "street/a.png", or if "street/a" itself ends
        like an image, so that no two images have the same results.
    """
    path = PurePath(place)
    is_plain = is_alone and PurePath(path.stem).suffix.lower() not in CHANNEL_ENDINGS
    return without_ending(place) if is_plain else path.as_posix()


def without_ending(place: str) -> str:
    """Returns a place without its extension, which images of one name have in common."""
    path = PurePath(place)
    return path.with_suffix("").as_posix() if path.name else place  # "." and "/" have no name


def result_stems(places: Iterable[str]) -> list[str]:
    """Returns `result_stem` of all images of a call."""
    places = list(places)
    counts = Counter(map(without_ending, places))
    return [result_stem(place, counts[without_ending(place)] == 1) for place in places]


class Results:
    """The result files in a folder: `NAME_labels.png` and `NAME_overlay.png` for an image NAME.

    They lie in the same sub-folders as the images in their source. A result replaces an earlier
    result of the same image, and no other file, nor one whose pixels have been changed since. To
    recognise it, each result contains a hash of the path of its image and one of its own pixels.

    Args:
        folder: The folder. It is created when the first result is written.
        places: All images of the call, each with its place in its source, such as "street/a.jpg".
        kinds: The kinds of results of each image, such as "labels".
        ending: The extension of the results.

    Raises:
        DataError: If two images have the same place, or a result would replace an image.
    """

    def __init__(
        self,
        folder: Path,
        places: Mapping[Path, str],
        kinds: Sequence[str],
        ending: str = ".png",
    ) -> None:
        self.folder = folder
        self.kinds = kinds
        self._ending = ending
        self._stems = dict(zip(places, result_stems(places.values()), strict=True))
        owners: dict[str, Path] = {}
        for image, stem in self._stems.items():
            first = owners.setdefault(stem, image)
            if first is not image:
                raise DataError(
                    f"{first} and {image} have the same name, so their results would be the same "
                    "file. Segment them into different folders, or name a folder that holds both"
                )
        inputs = {resolved(image): image for image in places}
        names = {image.name for image in inputs}
        for image in places:
            for path in self.paths(image).values():
                # Few results have the name of an image; resolving every path would take long.
                if path.name in names and (taken := resolved(path)) in inputs:
                    raise DataError(
                        f"{inputs[taken]}: the result of {image} would replace this image. Choose "
                        "another folder for the results"
                    )

    def paths(self, image: Path) -> dict[str, Path]:
        """Returns the result files of an image by their kind."""
        return {kind: self.folder / name for kind, name in self.names(image).items()}

    def names(self, image: Path) -> dict[str, str]:
        """Returns the paths of the results of an image, relative to the folder, by their kind."""
        return {kind: f"{self._stems[image]}_{kind}{self._ending}" for kind in self.kinds}

    def are_written(self, image: Path) -> bool:
        """Returns whether all result files of an image exist."""
        return all(path.exists() for path in self.paths(image).values())

    def remove_leftovers(self, image: Path) -> None:
        """Removes what a killed process left of the results of an image."""
        for path in self.paths(image).values():
            remove_leftovers(path)

    def check(self, image: Path) -> None:
        """Checks the files that the results of an image would replace.

        Raises:
            DataError: If one of them is not an earlier result of this image, or has other pixels
                than when it was written.
        """
        for path in self.paths(image).values():
            try:
                check_replaceable(path, image)
            except OSError as error:  # for example, a name that is too long
                reason = describe_reason(error, path)
                raise DataError(
                    f"{path}, a result of {image}, cannot be written: {reason}"
                ) from error

    def remove_others(self, image: Path) -> None:
        """Removes results of an image that this call does not write, because of other settings.

        Files that are not results of the image, and changed ones, stay.
        """
        for kind in set(KINDS) - set(self.kinds):
            path = self.folder / f"{self._stems[image]}_{kind}{self._ending}"
            if _is_result(path, image):
                path.unlink()

    def save(self, image: Path, kind: str, result: Image.Image) -> None:
        """Writes a result atomically."""
        save_marked(result, self.paths(image)[kind], SOURCE_KEY, mark_of(image, result))


def check_replaceable(path: Path, image: Path) -> None:
    """Checks that a PNG file is an unchanged result of an image, or does not exist.

    Raises:
        DataError: If it is anything else.
    """
    if path.exists() and not _is_result(path, image):
        raise not_replaceable(path, image)


def not_replaceable(path: Path, image: Path) -> DataError:
    """Returns the error that a result would replace another file."""
    return DataError(
        f"{path}: this file exists, and is not an earlier result of {image}, or has been changed "
        "since. Choose another folder for the results, or remove the file"
    )


def mark_of(image: Path | str, result: Image.Image) -> str:
    """Returns a hash of the path of an image, and one of the pixels of its result."""
    return f"{hash_source(image)} {hash_pixels(result)}"


def hash_source(image: Path | str) -> str:
    """Returns a hash of the path of an image, or of its URL, a string."""
    path = str(resolved(image) if isinstance(image, Path) else image)
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def _is_result(path: Path, image: Path) -> bool:
    """Returns whether a file is a result of an image, and unchanged."""
    try:
        with Image.open(path, formats=["PNG"]) as result:
            return result.info.get(SOURCE_KEY) == mark_of(image, result)
    except Exception:  # Pillow raises errors of many kinds for files that are not images
        return False
