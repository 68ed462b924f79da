"""Draws all annotations, and writes images and annotations to their splits."""

import os
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pdanet_tf.base.progress import track
from pdanet_tf.base.threads import map_in_threads
from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.importing.render import Rendering, image_ending
from pdanet_tf.data.importing.source import SourceImage
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import EncodedFile

_STAGE = ".drawn"  # the annotations, before their splits are known


def check_images(images: Sequence[SourceImage]) -> tuple[list[SourceImage], list[Problem]]:
    """Returns the images that can be written, and the problems of the others.

    Two annotations of one image, two images that would have one name, and images of a format that a
    folder does not read are problems.
    """
    first: dict[tuple[str | None, str], SourceImage] = {}
    files: dict[tuple[str | None, str], SourceImage] = {}
    good, problems = [], []
    for image in images:
        try:
            ending = image_ending(image)
        except DataError as error:
            problems.append(error.problem(str(image.file)))
            continue
        if ending not in IMAGE_ENDINGS:
            advice = f"Save the image as one of {', '.join(IMAGE_ENDINGS)}"
            problems.append(Problem(str(image.file), "image format", "is not read", advice))
            continue
        key = (image.split, _flat_name(image))
        known = files.setdefault((image.split, str(image.file)), image)
        if known is not image:
            text = f"annotates {image.file}, which {known.annotation} annotates, too"
            kind, advice = "two annotations of one image", "Keep one of them"
        elif first.setdefault(key, image) is not image:
            text = f"would get the name {key[1]}, as {first[key].file}"
            kind, advice = "two images of one name", "Rename one of them"
        else:
            good.append(image)
            continue
        problems.append(Problem(image.annotation, kind, text, advice))
    return good, problems


def draw_all(
    images: Sequence[SourceImage],
    names: list[str],
    rendering: Rendering,
    folder: Path,
    progress: bool,
) -> tuple[list[int], np.ndarray, list[Problem]]:
    """Draws annotations into the new folder, where `place` moves them to their splits.

    Args:
        images: The images.
        names: Names of the classes of the source.
        rendering: How to draw.
        folder: The new folder.
        progress: Whether to show progress.

    Returns:
        The indices of the images that could be drawn; which values below 255 each of them contains,
        `(images, 255)`, bool; and the problems.
    """
    (folder / _STAGE).mkdir()

    def draw(index: int) -> tuple[np.ndarray | None, list[Problem]]:
        try:
            label, problems = rendering.draw(images[index], names)
        except DataError as error:
            return None, [error.problem(str(images[index].file))]
        Image.fromarray(label).save(_staged(folder, index))
        return np.bincount(label.ravel(), minlength=256)[:255] > 0, problems

    kept, presence, problems = [], [], []
    drawn = map_in_threads(draw, len(images))
    for index, (present, added) in enumerate(track(drawn, "drawing", len(images), progress)):
        problems += added
        if present is not None:
            kept.append(index)
            presence.append(present)
    return kept, np.array(presence, bool).reshape(-1, 255), problems


def place(folder: Path, index: int, image: SourceImage, split: str, link: bool) -> None:
    """Moves the annotation of an image to its split, and copies or links the image.

    Args:
        folder: The new folder.
        index: Index of the image in `draw_all`.
        image: The image.
        split: Name of the split.
        link: Whether to make a hard link instead of a copy.

    Raises:
        OSError: If the image cannot be copied or linked.
    """
    name = _flat_name(image)
    label = folder / "annotations" / split / f"{name}.png"
    target = folder / "images" / split / f"{name}{image_ending(image)}"
    for path in (label, target):
        path.parent.mkdir(parents=True, exist_ok=True)
    _staged(folder, index).rename(label)
    if isinstance(image.file, EncodedFile):
        target.write_bytes(image.file.content)
    elif link:
        try:
            os.link(image.file, target)
        except OSError as error:
            raise ValueError(
                f"link=True: {image.file} cannot be linked: {os.strerror(error.errno or 0)}. Hard "
                "links require one file system; copy the images instead"
            ) from error
    else:
        shutil.copyfile(image.file, target)


def remove_stage(folder: Path) -> None:
    """Removes the annotations that are in no split."""
    shutil.rmtree(folder / _STAGE)


def _staged(folder: Path, index: int) -> Path:
    return folder / _STAGE / f"{index}.png"


def _flat_name(image: SourceImage) -> str:
    return unicodedata.normalize("NFC", image.name).replace("/", "_")
