"""What a reader of a format returns: images with their shapes, classes, and problems."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pdanet_tf.data.importing.regions import Region
from pdanet_tf.data.palette import Color
from pdanet_tf.data.problems import Problem, Severity
from pdanet_tf.data.readers import FileLike
from pdanet_tf.files import one_line

SKIP = "Correct it, or set skip_bad=True to leave such records out"
# What a record of other content than expected raises.
BAD_RECORD = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
UNLABELLED = -1  # in the result of `SourceImage.decode`


@dataclass(frozen=True)
class Shape:
    """An object, or a part of the ground, that has a class.

    Attributes:
        label: Name of the class.
        regions: Its parts; their union is the shape.
        record: Where it is in its file, such as "annotation 17".
        crowd: Whether it is a group of objects that nobody separated.
        order: Shapes of higher order cover those of lower order.
    """

    label: str
    regions: tuple[Region, ...]
    record: str
    crowd: bool = False
    order: int = 0


@dataclass
class SourceImage:
    """An image with its annotation, not yet rendered.

    Attributes:
        name: Relative path of the image without the extension, with forward slashes.
        file: The image.
        annotation: The annotation, for messages.
        size: (height, width) that the annotation states; None if it states none.
        split: Name of the split in the source; None if it has none.
        shapes: The shapes, if the format has shapes.
        decode: If the format has label maps: a function of the size of the image that returns the
            label map, `(height, width)`, int, the index of a class in `Source.names` or
            `UNLABELLED`; and problems.
    """

    name: str
    file: FileLike
    annotation: str
    size: tuple[int, int] | None = None
    split: str | None = None
    shapes: list[Shape] = field(default_factory=list)
    decode: Callable[[tuple[int, int]], tuple[np.ndarray, list[Problem]]] | None = None


@dataclass
class Source:
    """The content of annotations.

    Attributes:
        names: Names of the classes, in order.
        colors: Colours of classes, by name; can be empty.
        images: The images.
        problems: What is wrong with records, which are left out of `images`.
        ordered: Whether the order of the shapes says which covers which.
        complete: Whether label maps say of every pixel what it is, so that nothing is added as
            background.
        background: Name of the class of pixels that belong to no mask, which need not be called
            background; None if the source has none.
    """

    names: list[str] = field(default_factory=list)
    colors: dict[str, Color] = field(default_factory=dict)
    images: list[SourceImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ordered: bool = True
    complete: bool = False
    background: str | None = None

    def report(
        self,
        file: object,
        record: str,
        kind: str,
        text: str,
        advice: str = SKIP,
        severity: Severity = "fatal",
    ) -> None:
        """Adds a problem of a record."""
        place = f"{file}: {record}" if record else str(file)
        self.problems.append(Problem(place, kind, text, advice, severity))


def find_image(folder: Path, name: str) -> Path:
    """Returns the path of an image that an annotation names.

    Args:
        folder: The folder of the images.
        name: A relative path with slashes or backslashes.

    Raises:
        ValueError: If the path leaves the folder, or there is no such file.
    """
    relative = posixpath.normpath(name.replace("\\", "/"))
    if relative.startswith(("/", "../")) or relative in ("..", ".") or ":" in relative[:2]:
        raise ValueError(f"names the image {name!r}, which is not inside {folder}")
    path = folder / relative
    if not path.is_file():
        raise ValueError(f"names the image {name!r}, which is not in {folder}")
    return path


def parse_size(height: object, width: object) -> tuple[int, int]:
    """Returns the (height, width) of an image that an annotation states.

    Raises:
        ValueError: If they are not whole numbers above 0.
    """
    try:
        size = int(str(height)), int(str(width))
    except ValueError:
        size = (0, 0)
    if min(size) < 1:
        raise ValueError(f"states the height {height!r} and the width {width!r}")
    return size


def describe_error(error: Exception) -> str:
    """Returns what is wrong with a record that raised one of `BAD_RECORD`."""
    if isinstance(error, KeyError):
        return f"has no {error}"
    if isinstance(error, ValueError):
        return str(error)
    return f"has a value of another kind than expected: {one_line(error)}"
