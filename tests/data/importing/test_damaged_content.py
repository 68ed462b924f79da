"""Any value of a file replaced by another: an error of one sentence, never another error.

What can still be read is also drawn.
"""

import copy
import json
from xml.etree import ElementTree as ET

import pytest

from pdanet_tf.data import DataError
from pdanet_tf.data.importing.class_values import decide_classes
from pdanet_tf.data.importing.coco import read_coco
from pdanet_tf.data.importing.cvat import read_cvat
from pdanet_tf.data.importing.labelme import read_labelme
from pdanet_tf.data.importing.render import Rendering
from pdanet_tf.data.importing.writer import check_images
from pdanet_tf.data.importing.yolo import read_yolo
from tests.support.labelled import write_labelled

OTHERS = (None, [], {}, "x", "", float("inf"), 10**30, 2**62, -1)
WORDS = ("", "x", "nan", "1e300", "-1", str(2**62), "1,2", "\u0661")


def places(content, path=()):
    """Yields the path of every value of a JSON document."""
    yield path
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in parts:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def damaged(content):
    """Yields copies of a document, each with one value replaced, as text."""
    for path in list(places(content))[1:]:
        for other in OTHERS:
            copied = copy.deepcopy(content)
            parent = copied
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = other
            yield json.dumps(copied)


def attempt(file, text, read):
    """Writes a document, reads and draws it; returns whether that was refused or reported."""
    file.write_text(text)
    try:
        source = read(file)
        _, values, fill = decide_classes(source, (), (), "background")
        images, problems = check_images(source.images)
        problems += source.problems
        rendering = Rendering(values, fill, not source.ordered, ignore_crowds=False)
        for image in images:
            label, added = rendering.draw(image, source.names)
            assert label.shape == (24, 32)
            problems += added
    except DataError:
        return True
    return bool(problems)


def test_coco(tmp_path):
    file = write_labelled(tmp_path / "in", "coco")
    content = json.loads(file.read_text())
    content = {
        "images": content["images"][:1],
        "annotations": content["annotations"][1:2],  # run lengths
        "categories": content["categories"],
    }
    content["categories"][0]["color"] = [1, 2, 3]
    images = file.parent / "images"
    refused = [
        attempt(file, text, lambda path: read_coco(path, images)) for text in damaged(content)
    ]
    assert sum(refused) > 0.6 * len(refused)


@pytest.mark.parametrize("total", [2**64, 2**64 + 768, 2**63 + 768, 2**62])
def test_run_lengths_whose_sum_wraps_around(total, tmp_path):
    file = write_labelled(tmp_path / "in", "coco")
    content = json.loads(file.read_text())
    counts = [2**62] * (total // 2**62 - 1) + [2**62 + total % 2**62]
    content["annotations"][1]["segmentation"]["counts"] = counts
    assert sum(counts) == total
    images = file.parent / "images"
    assert attempt(file, json.dumps(content), lambda path: read_coco(path, images))


def test_labelme(tmp_path):
    file = write_labelled(tmp_path / "in", "labelme") / "b3.json"
    content = json.loads(file.read_text())
    assert content["shapes"][1]["shape_type"] == "mask"
    content["shapes"] = content["shapes"][:2]
    refused = [attempt(file, text, read_labelme) for text in damaged(content)]
    assert sum(refused) > 0.5 * len(refused)


def test_cvat(tmp_path):
    file = write_labelled(tmp_path / "in", "cvat")
    root = ET.parse(file).getroot()
    for image in root.findall("image")[:-1]:  # the last has a mask and polygons
        root.remove(image)
    assert root.find("image/mask") is not None
    images = file.parent / "images"
    refused = []
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            for other in (*WORDS, f"{value}, 4611686018427387904"):
                element.set(name, other)
                text = ET.tostring(root, "unicode")
                refused.append(attempt(file, text, lambda path: read_cvat(path, images)))
            element.set(name, value)
    assert sum(refused) > 0.6 * len(refused)


def test_yolo(tmp_path):
    source = write_labelled(tmp_path / "in", "yolo")
    file = source / "labels" / "a1.txt"
    line = file.read_text().splitlines()[0].split()
    refused = []
    for index in range(len(line)):
        for other in WORDS:
            text = " ".join([*line[:index], other, *line[index + 1 :]])
            refused.append(attempt(file, text, lambda _: read_yolo(source, None, None)))
    assert sum(refused) > 0.7 * len(refused)
