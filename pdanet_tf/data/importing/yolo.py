"""YOLO polygons: one text file per image, and names in data.yaml or a text file."""

from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.fields import shorten
from pdanet_tf.data.endings import IMAGE_ENDINGS
from pdanet_tf.data.importing.regions import Polygon, parse_points
from pdanet_tf.data.importing.source import Shape, Source, SourceImage
from pdanet_tf.data.patterns import find_files, find_images, first_files
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import image_size
from pdanet_tf.data.text_files import read_text

_NAME_FILES = ("data.yaml", "data.yml", "classes.txt", "obj.names")
_FARTHEST = 1.5  # from the middle, in sides; what is beyond must be in pixels
_BOX = 5  # values of a line: the class, and centre and size of a box


def read_yolo(root: Path, image_pattern: str | None, annotation_pattern: str | None) -> Source:
    """Reads polygons as Ultralytics' YOLO stores them: a line has a class, then x and y as shares.

    The names are in `data.yaml` (extra `labels`) or, one a line, in `classes.txt` or `obj.names`.
    An image without a text file has no object. Lines of five values are boxes, and are reported.

    Args:
        root: The folder.
        image_pattern: See `find_files`; by default "images/{split}/{name}.*", or "images/{name}.*"
            if the folder `images` contains images.
        annotation_pattern: By default the same with "labels" and ".txt".

    Raises:
        DataError: If there are no images, or there is no file of names.

    Source:
        https://docs.ultralytics.com/datasets/segment/
    """
    has_splits = not any(map(_is_image, (root / "images").glob("*.*")))
    middle = "{split}/{name}" if has_splits else "{name}"
    image_pattern = image_pattern or f"images/{middle}.*"
    annotation_pattern = annotation_pattern or f"labels/{middle}.txt"
    source = Source(read_names(root), ordered=False)
    files, problems = first_files(
        find_files(root, "annotation_pattern", annotation_pattern),
        "two annotations of one image",
        "for the same image",
    )
    texts = {(found.name, found.split): found for found in files}
    images, added = find_images(root, image_pattern)
    source.problems += [*problems, *added]
    for found in images:
        text = texts.pop((found.name, found.split), None)
        place = found.path if text is None else text.path
        image = SourceImage(found.name, found.path, str(place), split=found.split)
        source.images.append(image)
        if text is not None:
            try:
                _add_shapes(source, image, text.path, image_size(found.path))
            except DataError as error:
                source.problems.append(error.problem(str(found.path)))
    for text in texts.values():
        source.report(text.path, "", "annotation without image", "has no image")
    return source


def read_names(root: Path) -> list[str]:
    """Returns the names of the classes.

    Raises:
        DataError: If there is no file of names, or it cannot be read.
    """
    file = next((root / name for name in _NAME_FILES if (root / name).is_file()), None)
    if file is None:
        text = f"contains none of {', '.join(_NAME_FILES)}"
        advice = "Add classes.txt with one name a line, in the order of the numbers"
        raise DataError(Problem(str(root), "no class names", text, advice))
    text = read_text(file)
    if file.suffix not in (".yaml", ".yml"):
        lines = [line.strip() for line in text.rstrip().splitlines()]
        if "" in lines or not lines:
            text = f"line {lines.index('') + 1} has no name" if lines else "contains no name"
            advice = "Write one name a line, in the order of the numbers, without empty lines"
            raise DataError(Problem(str(file), "bad names", text, advice))
        return lines
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f"{file} requires PyYAML: pip install 'pdanet_tf[labels]'. Or write the names to "
            "classes.txt in the same folder, one a line"
        ) from error
    try:
        content = yaml.safe_load(text)
        return _names(content["names"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())
        advice = "It must contain `names`: a list, or numbers from 0 with names"
        problem = Problem(str(file), "bad names", f"the names cannot be read: {line}", advice)
        raise DataError(problem) from error


def _is_image(path: Path) -> bool:
    is_named_so = path.suffix.lower() in IMAGE_ENDINGS and path.name[0] != "."
    return is_named_so and path.is_file()


def _names(content: Any) -> list[str]:
    if isinstance(content, dict):
        if sorted(content) != list(range(len(content))):
            raise ValueError(f"the numbers are {', '.join(map(str, content))}")
        content = [content[index] for index in range(len(content))]
    if not isinstance(content, list):
        raise ValueError(f"`names` is {shorten(content)}")
    if None in content:
        raise ValueError(f"number {content.index(None)} has no name")
    return [str(name) for name in content]


def _add_shapes(source: Source, image: SourceImage, file: Path, size: tuple[int, int]) -> None:
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, *shares = [float(word) for word in words]
            if len(words) == _BOX:
                raise ValueError("is a box (5 values), not a polygon")
            if index not in range(len(source.names)):
                raise ValueError(f"has the class {words[0]}, there are {len(source.names)} names")
            points = parse_points(shares)
            farthest = points.ravel()[np.abs(points - 0.5).argmax()]
            if abs(farthest - 0.5) > _FARTHEST:
                raise ValueError(
                    "has coordinates that are not shares of the width and the height, from 0 to 1: "
                    f"{farthest:g}"
                )
        except ValueError as error:
            source.report(file, f"line {number}", "bad record", str(error))
            continue
        region = Polygon(points * size[::-1])
        image.shapes.append(Shape(source.names[int(index)], (region,), f"line {number}"))
