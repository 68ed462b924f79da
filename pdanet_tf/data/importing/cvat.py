"""CVAT: "CVAT for images 1.1", one XML file of all images."""

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

import numpy as np

from pdanet_tf.data.importing.regions import (
    Ellipse,
    Polygon,
    Region,
    RunLengths,
    check_runs,
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
from pdanet_tf.data.palette import parse_color
from pdanet_tf.data.problems import DataError, Problem
from pdanet_tf.data.split_lists import plain_name, split_name
from pdanet_tf.files import one_line

_EXPORT_AGAIN = "Export it again as 'CVAT for images 1.1'"
_NO_SUBSET = "default"  # the subset of images that have none
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")
_WITH_AREA = ("polygon", "box", "ellipse", "mask")


def read_cvat(file: Path, images: Path) -> Source:
    """Reads `annotations.xml` of an export as "CVAT for images 1.1".

    The classes are the labels of the project or task in their order, with their colours; without
    that list they are those that occur, in alphabetical order. A shape of a higher `z_order` covers
    those of a lower one; of equal ones the later covers the earlier. `tag` is not a region and is
    not read; polylines, points, cuboids and skeletons are reported.

    The subsets of a project become splits. The images of a subset are in the folder of its name,
    or in `images` itself. Without subsets, all images are in the subset "default" or in none.

    Args:
        file: The XML file.
        images: The folder that the names of the images are relative to.

    Raises:
        DataError: If the file is not XML of this format, or has a document type, with which XML
            can fill the memory; CVAT writes none.

    Source:
        https://docs.cvat.ai/docs/manual/advanced/xml_format/
    """
    root = _parse(file)
    source = Source()
    for label in root.iterfind("meta/*/labels/label"):
        name, color = label.findtext("name", ""), label.findtext("color")
        source.names.append(name)
        if color:
            try:
                source.colors[name] = parse_color(color)
            except ValueError as error:
                source.report(file, f"label {name}", "bad colour", str(error))
    subsets = {element.get("subset") or _NO_SUBSET for element in root.iterfind("image")}
    for index, element in enumerate(root.iterfind("image")):
        name, subset = element.get("name", ""), element.get("subset") or _NO_SUBSET
        try:
            size = parse_size(element.get("height"), element.get("width"))
            found = _find_image(images, subset, name)
        except ValueError as error:
            source.report(file, f"image {element.get('id', index + 1)}", "bad record", str(error))
            continue
        split = None if subsets == {_NO_SUBSET} else split_name(subset)
        image = SourceImage(plain_name(name), found, str(file), size, split)
        source.images.append(image)
        for position, child in enumerate(element):
            if child.tag == "tag":
                continue
            record = f"image {name}, {child.tag} {position + 1}"
            try:
                regions, order = (_region(child, size),), int(child.get("z_order") or 0)
                image.shapes.append(Shape(_label(child), regions, record, order=order))
            except BAD_RECORD as error:
                source.report(file, record, "bad record", describe_error(error))
    if not source.names:
        labels = {shape.label for image in source.images for shape in image.shapes}
        source.names = sorted(labels)
    return source


def _parse(file: Path) -> ET.Element:
    def refuse(name: str, *_: object) -> None:
        text = f"has a document type ({name}), which CVAT does not write"
        raise DataError(Problem(str(file), "not CVAT", text, _EXPORT_AGAIN))

    content = file.read_bytes()
    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = refuse
    try:
        checker.Parse(content, True)
        root = ET.fromstring(content)
    except (expat.ExpatError, ET.ParseError) as error:
        text = f"is not XML: {one_line(error)}"
        raise DataError(Problem(str(file), "not XML", text, _EXPORT_AGAIN)) from error
    if root.tag != "annotations" or root.find("image") is None:
        text = f"has the element <{root.tag}> in place of <annotations> with <image>"
        if root.find("track") is not None:
            text = "is an export as 'CVAT for video 1.1', whose tracks have no images"
        raise DataError(Problem(str(file), "not CVAT", text, _EXPORT_AGAIN))
    return root


def _find_image(images: Path, subset: str, name: str) -> Path:
    try:
        return find_image(images, f"{subset}/{name}")
    except ValueError:
        return find_image(images, name)


def _label(element: ET.Element) -> str:
    label = element.get("label")
    if label is None:
        raise ValueError("has no label")
    return label


def _region(element: ET.Element, size: tuple[int, int]) -> Region:
    kind = element.tag
    if kind in _WITHOUT_AREA:
        raise ValueError(f"is a {kind}, which has no area")
    if kind not in _WITH_AREA:
        raise ValueError(f"is the unknown shape <{kind}>")
    if kind == "polygon":
        pairs = [point.split(",") for point in element.get("points", "").split(";")]
        return Polygon(parse_points([_number(number) for pair in pairs for number in pair]))
    if _number(element.get("rotation") or "0"):
        raise ValueError(f"is a rotated {kind}, which is not read; draw it as a polygon")
    if kind == "box":
        return rectangle(*(_number(element.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")))
    if kind == "ellipse":
        return Ellipse(*(_number(element.get(name)) for name in ("cx", "cy", "rx", "ry")))
    return _run_lengths(element, size)


def _run_lengths(element: ET.Element, size: tuple[int, int]) -> RunLengths:
    left, top, width, height = (
        int(_number(element.get(name))) for name in ("left", "top", "width", "height")
    )
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise ValueError(
            f"is a mask of {height} x {width} (height x width) in an image of {size[0]} x {size[1]}"
        )
    counts = np.array([int(_number(count)) for count in element.get("rle", "").split(",")], "int64")
    check_runs(counts, (height, width))
    return RunLengths(counts, (height, width), top, left, by_columns=False)


def _number(text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        raise ValueError(f"has {text!r} in place of a number") from None
    if not np.isfinite(number):
        raise ValueError(f"has the coordinate {text}")
    return number
