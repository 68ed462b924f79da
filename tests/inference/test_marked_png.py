"""Marks in PNG files."""

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.inference.marked_png import read_mark, save_marked


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
