"""The input images and the result images of commands."""

import glob
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.problems import DataError
from pdanet_tf.inference.marked_png import hash_pixels, read_mark, save_marked
from pdanet_tf.inference.prediction import Prediction

_KINDS = ("_labels", "_overlay")
_SOURCE = "pdanet_tf source"  # key of the hashes in a result, see `_mark`


def find_images(
    arguments: Iterable[str], endings: tuple[str, ...] = IMAGE_ENDINGS
) -> tuple[list[Path], list[str]]:
    """Returns the image files that the arguments name, without duplicates.

    Folders and patterns do not include results of an earlier call.

    Args:
        arguments: Files, folders, and patterns such as `photos/**/*.jpg`. A folder stands for its
            images, without those of its sub-folders.
        endings: Extensions of the images in folders and patterns.

    Returns:
        The files, and a message for each folder or pattern without images.
    """
    files: dict[Path, Path] = {}
    problems = []
    for argument in arguments:
        try:
            found = _expand(argument, endings)
        except OSError as error:
            problems.append(f"{argument}: cannot be read: {error.strerror}")
            continue
        if not found:
            kind = "folder holds no image" if Path(argument).is_dir() else "pattern has no match"
            problems.append(f"{argument}: this {kind} ({', '.join(endings)})")
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values()), problems


def _expand(argument: str, endings: tuple[str, ...]) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        return _images_of(path.iterdir(), endings)
    if glob.has_magic(argument) and not path.exists():
        return _images_of(map(Path, glob.glob(argument, recursive=True)), endings)
    return [path]


def _images_of(paths: Iterable[Path], endings: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in endings
        and path.is_file()
        and not (path.stem.endswith(_KINDS) and read_mark(path, _SOURCE))
    )


class Results:
    """The result files in a folder: `NAME_labels.png` and `NAME_overlay.png` for an image NAME.

    A result replaces an earlier result of the same image, and no other file, nor one whose pixels
    have been changed since. To recognise it, each result contains a hash of the path of its image
    and one of its own pixels.

    Args:
        folder: The folder. It is created when the first result is written.
        images: All images of the call.
        kinds: The kinds of results of each image, such as "labels".

    Raises:
        DataError: If two images have the same name, or a result would replace an image.
    """

    def __init__(self, folder: Path, images: Sequence[Path], kinds: Sequence[str]) -> None:
        self.folder = folder
        self.kinds = kinds
        owners: dict[str, Path] = {}
        for image in images:
            first = owners.setdefault(image.stem, image)
            if first is not image:
                raise DataError(
                    f"{first} and {image} have the same name, so their results would be the same "
                    "file. Segment them into different folders"
                )
        inputs = {image.resolve(): image for image in images}
        for image in images:
            for kind in kinds:
                if (taken := self._path(image, kind).resolve()) in inputs:
                    raise DataError(
                        f"{inputs[taken]}: the result of {image} would replace this image. Choose "
                        "another folder for the results"
                    )

    def _path(self, image: Path, kind: str) -> Path:
        return self.folder / f"{image.stem}_{kind}.png"

    def check(self, image: Path) -> None:
        """Checks the files that the results of an image would replace.

        Raises:
            DataError: If one of them is not an earlier result of this image, or has other pixels
                than when it was written.
        """
        for path in (self._path(image, kind) for kind in self.kinds):
            if path.exists() and not _is_result(path, image):
                raise DataError(
                    f"{path}: this file exists, and is not an earlier result of {image}, or has "
                    "been changed since. Choose another folder for the results, or remove the file"
                )

    def save(self, image: Path, kind: str, result: Image.Image) -> None:
        """Writes a result atomically."""
        save_marked(result, self._path(image, kind), _SOURCE, _mark(image, result))


def _mark(image: Path, result: Image.Image) -> str:
    """Returns a hash of the path of an image and one of the pixels of its result."""
    path = str(image.resolve()).encode("utf-8", "surrogateescape")
    return f"{hashlib.sha256(path).hexdigest()} {hash_pixels(result)}"


def _is_result(path: Path, image: Path) -> bool:
    """Returns whether a file is a result of an image, and unchanged."""
    try:
        with Image.open(path, formats=["PNG"]) as result:
            return result.info.get(_SOURCE) == _mark(image, result)
    except Exception:  # Pillow raises errors of many kinds for files that are not images
        return False


def print_areas(file: Path, prediction: Prediction) -> None:
    """Prints the classes of an image with their shares of its area."""
    areas = ", ".join(f"{name} {100 * area:.0f}%" for name, area in prediction.areas().items())
    print(f"{file}: {areas}")


def print_summary(images: int, failed: int, output: str) -> None:
    """Prints where the results of all images are, and how many images failed."""
    if failed < images:
        print(f"The label maps and overlays are in {output}")
    if failed:
        print(f"pdanet-tf: not segmented: {failed} of {images}", file=sys.stderr)
