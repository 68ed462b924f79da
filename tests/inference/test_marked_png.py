"""Marks in PNG files."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.cli.images import find_images
from pdanet_tf.data import DataError
from pdanet_tf.inference.marked_png import hash_pixels, read_mark, save_marked
from pdanet_tf.inference.results import Results


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_mark_and_the_pixels_are_read_back(dtype, tmp_path):
    pixels = (np.arange(12).reshape(3, 4) * 20).astype(dtype)
    path = tmp_path / "new" / "labels.png"
    save_marked(Image.fromarray(pixels), path, "source", "0123abcd")
    assert read_mark(path, "source") == "0123abcd"
    assert read_mark(path, "image") is None
    with Image.open(path) as image:
        np.testing.assert_array_equal(image, pixels)


def test_files_without_a_mark(tmp_path):
    path = tmp_path / "notes.png"
    assert read_mark(path, "source") is None
    path.write_text("no image")
    assert read_mark(path, "source") is None
    Image.new("L", (4, 3)).save(path)
    assert read_mark(path, "source") is None


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_the_hash_of_the_pixels_survives_saving(mode, tmp_path):
    image = Image.new(mode, (4, 3))
    assert hash_pixels(image) != hash_pixels(Image.new(mode, (3, 4)))
    save_marked(image, tmp_path / "a.png", "key", "mark")
    with Image.open(tmp_path / "a.png") as again:
        assert hash_pixels(again) == hash_pixels(image)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_result_that_was_edited_by_hand_is_not_replaced(mode, tmp_path):
    image = tmp_path / "photo.jpg"
    results = Results(tmp_path, {image: image.name}, ["labels"])
    results.check(image)
    results.save(image, "labels", Image.new(mode, (4, 3)))
    results.check(image)  # a second call replaces it
    path = tmp_path / "photo_labels.png"
    with Image.open(path) as result:
        mark = read_mark(path, "pdanet_tf source")
        result.load()
    result.putpixel((1, 1), (7, 7, 7) if mode == "RGB" else 7)
    save_marked(result, path, "pdanet_tf source", mark)  # as an editor that keeps text chunks
    with pytest.raises(DataError, match=r"photo_labels\.png: .*has been changed since"):
        results.check(image)
    assert find_images([str(tmp_path)])[0] == {}  # it is still a result, and no input
