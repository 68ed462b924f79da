"""LabelMe: one JSON file per image, with the image inside or beside it."""

import base64
import binascii
import math
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.fields import shorten
from pdanet_tf.data.importing.regions import (
    Bitmap,
    Ellipse,
    Polygon,
    Region,
    parse_points,
    rectangle,
)
from pdanet_tf.data.importing.source import (
    BAD_RECORD,
    Shape,
    Source,
    SourceImage,
    describe_error,
    find_image,
    parse_size,
)
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.readers import EncodedFile, FileLike, decoding, open_image
from pdanet_tf.data.split_lists import plain_name
from pdanet_tf.files import read_json

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def read_labelme(folder: Path, images: Path | None = None) -> Source:
    """Reads the LabelMe JSON files of a folder and of the folders in it, or one such file.

    LabelMe stores no list of classes: they are all labels that occur, in alphabetical order. Later
    shapes cover earlier ones. Points and lines have no area and are reported.

    Args:
        folder: The folder, or one file.
        images: The folder of the images; None for images inside the JSON files, or beside them.

    Raises:
        DataError: If there is no JSON file.

    Source:
        https://github.com/wkentaro/labelme/blob/main/labelme/_label_file.py
    """
    root = folder.parent if folder.is_file() else folder
    files = [folder] if folder.is_file() else _json_files(folder)
    if not files:
        advice = "Choose the folder that LabelMe saved to"
        raise DataError(Problem(str(folder), "empty source", "contains no .json file", advice))
    source = Source()
    for file in files:
        try:
            content = read_json(file)
            shapes = content["shapes"]
            if not isinstance(shapes, list):
                raise ValueError("has shapes that are not a list")
            image = _image(file, content, root, images)
        except BAD_RECORD as error:
            text = describe_error(error)
            source.report(file, "", "bad file", text.removeprefix(f"{file}: "))
            continue
        source.images.append(image)
        for index, row in enumerate(shapes):
            record = f"shape {index + 1}"
            try:
                if not isinstance(row["label"], str):
                    raise ValueError(f"has the label {shorten(row['label'])}")
                image.shapes.append(Shape(row["label"], (_region(row),), record))
            except BAD_RECORD as error:
                source.report(file, record, "bad record", describe_error(error))
    labels = {shape.label for image in source.images for shape in image.shapes}
    source.names = sorted(labels)
    return source


def _json_files(folder: Path) -> list[Path]:
    """Returns the JSON files, without hidden files and those in hidden folders."""
    found = sorted(folder.rglob("*.json"))
    return [
        file for file in found if not any(part[0] == "." for part in file.relative_to(folder).parts)
    ]


def _image(file: Path, content: dict[str, Any], root: Path, images: Path | None) -> SourceImage:
    stated = content.get("imagePath") or file.name
    name = file.relative_to(root).with_suffix("").as_posix()
    data = content.get("imageData")
    found: FileLike
    if isinstance(data, str) and data:
        found = EncodedFile(str(file), _decode(data, "imageData"))
    elif images is not None:
        found = find_image(images, Path(stated.replace("\\", "/")).name)
    else:
        found = file.parent / stated.replace("\\", "/")
        if not found.is_file():
            raise ValueError(
                f"contains no image, and names {stated!r}, which is not beside it. Set images, the "
                "folder of the images"
            )
    sides = content.get("imageHeight"), content.get("imageWidth")
    size = None if sides == (None, None) else parse_size(*sides)
    return SourceImage(plain_name(f"{name}.json"), found, str(file), size)


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"has {what} that is not base64") from None


def _region(row: dict[str, Any]) -> Region:
    kind = row.get("shape_type") or "polygon"
    points = [number for point in row["points"] for number in point]
    if kind == "polygon":
        return Polygon(parse_points(points))
    if kind in _WITHOUT_AREA:
        raise ValueError(f"is a {kind}, which has no area")
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"has the unknown shape_type {shorten(kind)}")
    if len(points) != 4:
        raise ValueError(f"is a {kind} of {len(row['points'])} points, not 2")
    left, top, right, bottom = parse_points([*points, 0, 0]).ravel()[:4].tolist()
    if kind == "rectangle":
        return rectangle(left, top, right, bottom)
    if kind == "circle":  # its centre, and a point of its border
        radius = math.hypot(right - left, bottom - top)
        return Ellipse(left, top, radius, radius)
    size = round(bottom - top) + 1, round(right - left) + 1  # the points are its corner pixels
    return _bitmap(row["mask"], round(top), round(left), size)


def _bitmap(text: str, top: int, left: int, size: tuple[int, int]) -> Bitmap:
    file = EncodedFile("mask", _decode(text, "a mask"))
    try:
        with open_image(file) as image, decoding(file, "mask"):
            pixels = np.asarray(image.convert("L")) > 0
    except DataError as error:
        raise ValueError(f"has a mask that cannot be read: {error}") from error
    if pixels.shape != size:
        raise ValueError(
            f"has a mask of {pixels.shape[0]} x {pixels.shape[1]} (height x width), whose points "
            f"span {size[0]} x {size[1]}"
        )
    return Bitmap(pixels, top, left)
