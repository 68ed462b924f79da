"""Masks of polygons and run lengths, also in comparison with pycocotools."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from pdanet_tf.data.importing.coco import parse_counts
from pdanet_tf.data.importing.regions import (
    Bitmap,
    Ellipse,
    Polygon,
    RunLengths,
    parse_points,
    rectangle,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "coco_masks.json").read_text())
SIZE = tuple(GOLDEN["size"])
POLYGONS = [case for case in GOLDEN["cases"] if case["polygon"]]


def whole(region, size=SIZE):
    label = np.zeros(size, "uint8")
    region.mask(size).paint(label, 1)
    return label


def stored(case):
    packed = zlib.decompress(base64.b64decode(case["mask"]))
    return np.unpackbits(np.frombuffer(packed, "uint8"))[: SIZE[0] * SIZE[1]].reshape(SIZE)


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_compressed_run_lengths_are_those_of_pycocotools(case):
    region = RunLengths(parse_counts(case["counts"]), SIZE)
    np.testing.assert_array_equal(whole(region), stored(case))


@pytest.mark.parametrize("case", POLYGONS)
def test_polygons_differ_from_coco_only_next_to_their_edges(case):
    """COCO rounds the outline to a fifth of a pixel; here the centre of a pixel decides."""
    points = parse_points(case["polygon"])
    found, theirs = whole(Polygon(points)), stored(case)
    assert np.abs(found.sum(dtype=int) - case["area"]) <= 2
    rows, columns = np.nonzero(found != theirs)
    assert len(rows) <= 4
    ends = np.roll(points, -1, 0) - points
    for centre in np.stack([columns, rows], 1) + 0.5:
        along = ((centre - points) * ends).sum(1) / (ends**2).sum(1)
        nearest = points + along.clip(0, 1)[:, None] * ends
        assert np.hypot(*(centre - nearest).T).min() < 0.2


@pytest.mark.parametrize("case", POLYGONS)
def test_polygons_are_those_of_matplotlib(case):
    points = parse_points(case["polygon"])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], 1)
    expected = Outline(points).contains_points(centres).reshape(SIZE)
    np.testing.assert_array_equal(whole(Polygon(points)), expected)


# Of pycocotools with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_itself(pycocotools):
    from pycocotools import mask

    encoded = mask.encode(np.asfortranarray(np.random.default_rng(1).random(SIZE) < 0.5))
    region = RunLengths(parse_counts(encoded["counts"].decode()), SIZE)
    np.testing.assert_array_equal(whole(region), mask.decode(encoded))


def test_polygons_with_a_common_edge_leave_no_gap():
    rng = np.random.default_rng(0)
    for _ in range(20):
        cut = rng.uniform(0, 20, 2)
        left = Polygon(np.array([(0, 0), (cut[0], 0), (cut[1], 15), (0, 15)], float))
        right = Polygon(np.array([(cut[0], 0), (20, 0), (20, 15), (cut[1], 15)], float))
        total = whole(left, (15, 20)) + whole(right, (15, 20))
        assert (total == 1).all()


def test_a_self_crossing_polygon_and_one_that_leaves_the_image():
    bow = whole(Polygon(np.array([(0.2, 0), (3.8, 4), (3.8, 0), (0.2, 4)])), (4, 4))
    assert bow.tolist() == [[1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1]]
    assert whole(rectangle(-5, 1, 2, 99), (3, 3)).tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]
    assert whole(rectangle(1e300, 1, -1e300, 2), (3, 3)).tolist()[1] == [1, 1, 1]
    assert not whole(rectangle(5, 5, 9, 9), (3, 3)).any()


def test_circles_bitmaps_and_runs_by_rows():
    circle = whole(Ellipse(2.5, 2.5, 2, 2), (5, 5))
    assert circle.tolist()[0] == [0, 0, 0, 0, 0]
    assert circle.tolist()[1] == circle.tolist()[3] == [0, 1, 1, 1, 0]
    runs = RunLengths(np.array([1, 2, 1]), (2, 2), top=1, left=2, by_columns=False)
    assert whole(runs, (3, 3)).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    bitmap = Bitmap(np.ones((2, 2), bool), top=-1, left=2)
    assert whole(bitmap, (3, 3)).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3, 4], "2 points"),
        ([1, 2, 3, 4, 5], "odd"),
        ([1, 2, 3, 4, 5, float("nan")], "finite"),
        ([1, 2, 3, 4, 5, "6"], "not a number"),
    ],
)
def test_bad_points(values, message):
    with pytest.raises(ValueError, match=message):
        parse_points(values)


@pytest.mark.parametrize("text", ["a", "0~", "\x00"])
def test_bad_run_lengths(text):
    with pytest.raises(ValueError, match="run lengths"):
        parse_counts(text)
