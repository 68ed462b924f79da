"""The program that measures `predict` notices results that differ, and what a process takes."""

import json

import pytest
from PIL import Image

from benchmarks.prediction import (
    _save_small_model,
    count_windows,
    is_equal,
    measure,
    write_images,
    write_tiff,
)
from pdanet_tf.inference.large_images import Windows


def test_records_and_files_are_compared(tmp_path):
    for name, seconds in (("one", 0.1), ("other", 0.2)):
        (tmp_path / name / "a").mkdir(parents=True)
        Image.new("L", (3, 2), 1).save(tmp_path / name / "a" / "b_labels.png")
        record = {"file": "a/b.jpg", "classes": {"road": 1.0}, "seconds": seconds}
        (tmp_path / name / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    one, other = tmp_path / "one", tmp_path / "other"
    assert is_equal(one, other)
    Image.new("L", (3, 2), 2).save(other / "a" / "b_labels.png")
    assert not is_equal(one, other)
    Image.new("L", (3, 2), 1).save(other / "a" / "b_labels.png")
    record["classes"] = {"road": 0.5}
    (other / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    assert not is_equal(one, other)


def test_what_a_process_takes_is_measured(tmp_path):
    _save_small_model(tmp_path / "small.keras")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    command = ("--predict", tmp_path / "a.png", "--model", tmp_path / "small.keras", "--output")
    usage = measure(*command, tmp_path / "out")
    assert (tmp_path / "out" / "a_labels.png").is_file()
    assert usage.seconds > 0
    assert usage.cpu > 1
    assert 200 < usage.memory < 2000
    with pytest.raises(RuntimeError, match=r"none\.keras failed:\n(?s:.*)There is no model file"):
        measure(*command[:-2], tmp_path / "none.keras")


@pytest.mark.parametrize("side", [512, 1024, 1025, 2000, 5000, 20_000])
def test_windows_are_counted(side):
    starts, step = 1, Windows(1024, 128).protocol.stride[0]
    while (starts - 1) * step + 1024 < side:
        starts += 1
    assert count_windows(side) == starts**2


def test_images_are_in_folders(tmp_path):
    write_images(tmp_path, 101)
    assert len(list(tmp_path.rglob("*.jpg"))) == 101
    with Image.open(tmp_path / "1" / "100.jpg") as image:
        assert image.size == (192, 144)


@pytest.mark.extra
def test_the_large_image_is_a_tiled_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="needs the extra 'tiff'")
    write_tiff(tmp_path / "a.tif", 1100)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].shape == (1100, 1100, 3)
        assert file.pages[0].tilewidth == 512
        assert file.pages[0].asarray().std() > 10
