"""Any value of a JSON file replaced by another: an error of one sentence, never another error."""

import copy
import json

from pdanet_tf.data import DataError
from pdanet_tf.data.importing.coco import read_coco
from pdanet_tf.data.importing.labelme import read_labelme
from tests.support.labelled import write_labelled

OTHERS = (None, [], {}, "x", float("inf"), 10**30)


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
    """Yields copies of a document, each with one value replaced or removed."""
    for path in list(places(content))[1:]:
        for other in OTHERS:
            copied = copy.deepcopy(content)
            parent = copied
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = other
            yield path, other, copied


def attempt(file, content, read):
    """Writes a document and reads it; returns whether that was refused or reported."""
    file.write_text(json.dumps(content))
    try:
        source = read(file)
    except DataError:
        return True
    return bool(source.problems)


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
        attempt(file, each, lambda path: read_coco(path, images)) for _, _, each in damaged(content)
    ]
    assert sum(refused) > 0.6 * len(refused)


def test_labelme(tmp_path):
    file = write_labelled(tmp_path / "in", "labelme") / "b3.json"
    content = json.loads(file.read_text())
    assert content["shapes"][1]["shape_type"] == "mask"
    content["shapes"] = content["shapes"][:2]
    refused = [attempt(file, each, read_labelme) for _, _, each in damaged(content)]
    assert sum(refused) > 0.5 * len(refused)
