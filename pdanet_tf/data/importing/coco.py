"""COCO: one JSON file with images, categories, and polygons or run lengths."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pdanet_tf.base.fields import shorten
from pdanet_tf.data.importing.regions import Polygon, Region, RunLengths, check_runs, parse_points
from pdanet_tf.data.importing.source import (
    BAD_RECORD,
    Shape,
    Source,
    SourceImage,
    describe_error,
    find_image,
    parse_size,
)
from pdanet_tf.data.palette import parse_color
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.split_lists import plain_name
from pdanet_tf.files import read_json

_EXPORT_AGAIN = "Export the file again as COCO instances, with segmentations"
_RENAME = "Rename one of them if they are different classes"


def read_coco(file: Path, images: Path) -> Source:
    """Reads a COCO JSON file of instances.

    The classes are the categories in the order of their ids. The polygons of an annotation are
    parts of one object, so their union is the object: COCO's polygons have no holes, its run
    lengths do.

    Args:
        file: The JSON file.
        images: The folder that `file_name` is relative to.

    Raises:
        DataError: If the file is not JSON, or lacks `images`, `annotations` or `categories`.

    Source:
        https://cocodataset.org/#format-data
    """
    try:
        content = read_json(file)
    except ValueError as error:
        raise DataError(str(error)) from error
    source = Source(ordered=False)
    rows = {key: _rows(file, content, key) for key in ("images", "annotations", "categories")}
    names = dict(_categories(file, rows["categories"], source))
    found: dict[Any, SourceImage] = {}
    for index, row in enumerate(rows["images"]):
        try:
            key, image = row["id"], _image(file, row, images)
        except BAD_RECORD as error:
            _report(source, file, f"image {row.get('id', f'number {index + 1}')}", error)
            continue
        if key in found:
            source.report(file, f"image {key}", "two images of one id", "another image has this id")
            continue
        found[key] = image
    known = {_key(row.get("id")) for row in rows["images"]}
    for index, row in enumerate(rows["annotations"]):
        record = f"annotation {row.get('id', f'number {index + 1}')}"
        key = _key(row.get("image_id"))
        if key not in known:
            text = f"belongs to the image {shorten(row.get('image_id'))}, which is not in the file"
            source.report(file, record, "unknown image", text)
        elif key in found:  # otherwise the image itself has a problem
            try:
                found[key].shapes.append(_shape(row, names, record, found[key].size))
            except BAD_RECORD as error:
                _report(source, file, record, error)
    source.images = list(found.values())
    return source


def parse_counts(text: str) -> np.ndarray:
    """Decodes COCO's compressed run lengths.

    Each character holds five bits of a number, the lowest first, and a sixth that says whether
    more follow; from the fourth number on, the difference from the number two before is stored.

    Returns:
        The lengths, `(count,)`, int64.

    Raises:
        ValueError: If the text is not of this form.

    Source:
        `rleFrString` in https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("has run lengths that are not in COCO's compressed form")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("has run lengths that end early")
    return np.array(counts, "int64")


def _rows(file: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = content.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        text = f"has no list {key!r} of objects; it has {shorten(', '.join(content)) or 'nothing'}"
        raise DataError(Problem(str(file), "not COCO", text, _EXPORT_AGAIN))
    return rows


def _key(value: Any) -> Any:
    """Returns an id; None for what cannot be one."""
    return value if isinstance(value, int | str) else None


def _categories(
    file: Path, rows: list[dict[str, Any]], source: Source
) -> Iterator[tuple[Any, str]]:
    """Yields id and name of each category, and adds the classes to `source`."""
    sound: dict[int | str, dict[str, Any]] = {}
    for row in rows:
        key = row.get("id")
        record = f"category {shorten(key)}"
        if not isinstance(key, int | str) or not isinstance(row.get("name"), str):
            text = f"expected an id and a name, found {shorten(row)}"
            source.report(file, record, "bad category", text)
        elif key in sound:
            text = f"another category has this id, {sound[key]['name']!r}; this is {row['name']!r}"
            source.report(file, record, "two categories of one id", text)
        else:
            sound[key] = row
    for key in sorted(sound, key=lambda key: (isinstance(key, str), key)):
        row, name = sound[key], sound[key]["name"]
        if name in source.names:
            text = f"another category is also called {name!r}; both become one class"
            source.report(
                file, f"category {key}", "two categories of one name", text, _RENAME, "warning"
            )
        else:
            source.names.append(name)
        if isinstance(row.get("color"), list):
            try:
                source.colors[name] = parse_color(row["color"])
            except ValueError as error:
                source.report(file, f"category {key}", "bad colour", str(error))
        yield key, name


def _image(file: Path, row: dict[str, Any], images: Path) -> SourceImage:
    name, size = row["file_name"], parse_size(row["height"], row["width"])
    if not isinstance(name, str) or _key(row["id"]) is None:
        raise ValueError("has no id and file_name")
    return SourceImage(plain_name(name), find_image(images, name), str(file), size)


def _shape(
    row: dict[str, Any], names: dict[Any, str], record: str, size: tuple[int, int] | None
) -> Shape:
    key = _key(row["category_id"])
    if key not in names:
        raise ValueError(
            f"has the category {shorten(row['category_id'])}, which is not in the file"
        )
    crowd = row.get("iscrowd", 0) == 1
    return Shape(names[key], tuple(_regions(row["segmentation"], size)), record, crowd)


def _regions(segmentation: Any, size: tuple[int, int] | None) -> Iterator[Region]:
    if isinstance(segmentation, list) and segmentation:
        for ring in segmentation:
            if not isinstance(ring, list):
                raise ValueError("has a polygon that is not a list of coordinates")
            yield Polygon(parse_points(ring))
    elif isinstance(segmentation, dict):
        yield _run_lengths(segmentation, size)
    else:
        raise ValueError("has no segmentation, neither polygons nor run lengths")


def _run_lengths(content: dict[str, Any], size: tuple[int, int] | None) -> RunLengths:
    height, width = content["size"]
    stored = content["counts"]
    counts = parse_counts(stored) if isinstance(stored, str) else np.array(stored, "int64")
    if (height, width) != size:
        sides = "unknown" if size is None else f"{size[0]} x {size[1]}"
        raise ValueError(f"has run lengths of {height} x {width}, its image has {sides}")
    check_runs(counts, (height, width))
    return RunLengths(counts, (height, width))


def _report(source: Source, file: Path, record: str, error: Exception) -> None:
    source.report(file, record, "bad record", describe_error(error))
