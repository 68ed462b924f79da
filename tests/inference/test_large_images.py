"""Images that are read in windows: against the sliding windows of whole images, and bad files."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.base.pixel_format import RGB, PixelFormat
from pdanet_tf.data import DataError
from pdanet_tf.data.readers import resize_image
from pdanet_tf.data.tiled_tiff import conversion_command, is_tiff, open_tiled
from pdanet_tf.inference.large_images import Windows, _resized, segment_large
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.models.inspection import logits_of

tifffile = pytest.importorskip("tifffile", reason="needs the extra 'tiff'")
pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18_quarter", num_classes=3)


def balance(model, image):
    """Changes the bias of the classifier so that an image has more than one class."""
    bias = [each for each in model.trainable_variables if each.path.endswith("bias")][-1]
    logits = logits_of(model(image[None], training=False))
    bias.assign_sub(np.mean(logits, axis=(0, 1, 2)))


def smooth(height, width, channels=3):
    """An image `(height, width, channels)`, uint8, of waves, so that classes have areas."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + 3 * k)) + np.cos(y / (4 + 2 * k)) for k in range(channels)]
    return np.uint8(127 + 60 * np.stack(waves, -1))


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "flip"),
    [
        ((128, 96), 32, 8, False),
        ((128, 192), 64, 24, True),
        ((97, 131), 32, 0, False),  # sides that protocols round up to multiples of 8
        ((40, 24), 64, 8, True),  # smaller than a window
        ((600, 533), 256, 64, False),  # several tiles of the label map
    ],
)
def test_windows_from_a_file_equal_those_of_the_protocol(
    model, size, tile, overlap, flip, tmp_path
):
    image = smooth(*size)
    balance(model, image)
    file, target = tmp_path / "image.tif", tmp_path / "labels.tif"
    tifffile.imwrite(file, image, tile=(48, 32), compression="zlib", photometric="rgb")
    step = tile - overlap
    protocol = Protocol(None, 4096, flip, (tile, tile), (step, step))
    whole = Predictor(model, protocol)
    windows = Windows(tile, overlap, flip)
    assert segment_large(whole, file, target, windows)[0] == size
    probabilities = whole.probabilities(image)
    order = np.sort(probabilities, -1)
    clear = order[..., -1] - order[..., -2] > 1e-5
    assert clear.mean() > 0.99
    labels = tifffile.imread(target)
    assert labels.dtype == "uint8"
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(labels[clear], probabilities.argmax(-1)[clear])
    with Image.open(target) as opened:  # another reader
        np.testing.assert_array_equal(opened, labels)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_windows_of_an_enlarged_image_are_those_of_pillow(dtype, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(32, 32), photometric="rgb")
    expected = resize_image(image, (104, 136))
    with open_tiled(tmp_path / "a.tif", PixelFormat(3, dtype)) as opened:
        enlarged = _resized(opened)
        assert enlarged.shape == (104, 136, 3)
        for window in (
            (slice(0, 104), slice(0, 136)),
            (slice(0, 32), slice(104, 136)),
            (slice(72, 104), slice(7, 39)),
        ):
            np.testing.assert_array_equal(enlarged[window], expected[window])


def test_each_window_is_computed_once_and_only_a_few_are_in_memory(model, tmp_path, monkeypatch):
    file = tmp_path / "image.tif"
    tifffile.imwrite(file, smooth(1100, 1100), tile=(64, 64), photometric="rgb")
    monkeypatch.setattr("pdanet_tf.inference.stored_windows._IN_MEMORY", 0)
    predictor = Predictor(model)
    calls, compute = [], predictor._logits
    predictor._logits = lambda x: calls.append(x.shape) or compute(x)
    size, areas = segment_large(predictor, file, tmp_path / "labels.tif", Windows(160, 40))
    starts = [*range(0, 1104 - 160, 120), 1104 - 160]  # the protocol rounds 1100 up to 1104
    assert calls == [(1, 160, 160, 3)] * len(starts) ** 2
    labels = tifffile.imread(tmp_path / "labels.tif")
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    assert size == labels.shape
    for number, name in enumerate(predictor.classes.names):
        assert areas.get(name, 0) == pytest.approx(shares[number])


@pytest.mark.parametrize(
    ("pixel_format", "options"),
    [
        (RGB, {"tile": (32, 16), "compression": "jpeg", "photometric": "rgb"}),
        (RGB, {"tile": (32, 16), "compression": "zlib", "predictor": True, "photometric": "rgb"}),
        (RGB, {"tile": (32, 16), "photometric": "rgb", "planarconfig": "separate"}),
        (RGB, {"rowsperstrip": 7, "compression": "lzw", "photometric": "rgb"}),
        (RGB, {"photometric": "rgb", "byteorder": ">"}),
        (RGB, {"photometric": "rgb", "bigtiff": True}),
        (PixelFormat(5, "uint16"), {"tile": (16, 32), "photometric": "minisblack"}),
        (PixelFormat(5, "uint16"), {"photometric": "minisblack", "byteorder": ">"}),
        (PixelFormat(5, "float32"), {"rowsperstrip": 9, "compression": "zstd"}),
    ],
)
def test_windows_of_every_kind_of_tiff(pixel_format, options, tmp_path):
    image = smooth(53, 70, pixel_format.channels).astype(pixel_format.dtype)
    image = image * 200 if pixel_format.dtype == "uint16" else image
    stored = np.moveaxis(image, -1, 0) if options.get("planarconfig") == "separate" else image
    if pixel_format.channels == 5:
        options = {"planarconfig": "contig", "photometric": "minisblack", **options}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    expected = tifffile.imread(tmp_path / "a.tif")  # JPEG is lossy
    if options.get("planarconfig") == "separate":
        expected = np.moveaxis(expected, 0, -1)
    with open_tiled(tmp_path / "a.tif", pixel_format) as opened:
        assert opened.shape == image.shape
        assert opened.dtype == image.dtype
        for rows, columns in (
            (slice(0, 53), slice(0, 70)),
            (slice(13, 40), slice(5, 6)),
            (slice(31, 33), slice(15, 70)),
        ):
            np.testing.assert_array_equal(opened[rows, columns], expected[rows, columns])


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGBA", 4)])
def test_grey_and_transparency_become_rgb_as_in_pillow(mode, channels, tmp_path):
    image = Image.fromarray(smooth(20, 30, 4), "RGBA").convert(mode)
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    with open_tiled(tmp_path / "a.tif", RGB) as opened:
        found = opened[slice(3, 20), slice(0, 29)]
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB"))[3:20, :29])
    tifffile.imwrite(tmp_path / "white.tif", np.asarray(image.convert("L")), photometric=0)
    with open_tiled(tmp_path / "white.tif", RGB) as opened:
        found = opened[slice(0, 20), slice(0, 30)]
    np.testing.assert_array_equal(
        found, np.asarray(Image.open(tmp_path / "white.tif").convert("RGB"))
    )


def test_a_tile_that_cannot_be_read(model, tmp_path):
    file, target = tmp_path / "a.tif", tmp_path / "out" / "labels.tif"
    image = smooth(128, 160)
    tifffile.imwrite(file, image, tile=(32, 32), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(file) as opened:
        offset = opened.pages[0].dataoffsets[12]
        count = opened.pages[0].databytecounts[12]
        last = opened.pages[0].dataoffsets[-1]
    content = file.read_bytes()
    file.write_bytes(content[:offset] + bytes(count) + content[offset + count :])
    predictor = Predictor(model)
    message = (
        r"a\.tif: tile 12 \(row 2, column 2 of the tiles\), pixel rows 64 to 95 and columns 64 to "
        r"95, cannot be read: "
    )
    with pytest.raises(DataError, match=message):
        segment_large(predictor, file, target, Windows(64, 16))
    assert not list(tmp_path.rglob("*labels*"))
    file.write_bytes(content[: last + 5])
    with pytest.raises(DataError, match=r"tile 19 .* the file ends after 5 of its"):
        segment_large(predictor, file, target, Windows(64, 16))
    # Uncompressed in one piece.
    tifffile.imwrite(file, image, photometric="rgb")
    with tifffile.TiffFile(file) as opened:
        offset = opened.pages[0].dataoffsets[0]
    file.write_bytes(file.read_bytes()[: offset + 100 * 160 * 3])
    with open_tiled(file, RGB) as opened:
        assert opened[slice(99, 100), slice(0, 160)].shape == (1, 160, 3)
        with pytest.raises(DataError, match=r"a\.tif: row 100 of 128, pixel rows 90 to 109"):
            opened[slice(90, 110), slice(0, 8)]
    values = np.zeros((64, 64, 3), "float32")
    values[40, 50] = np.nan
    tifffile.imwrite(file, values, tile=(32, 32), photometric="rgb")
    with (
        open_tiled(file, PixelFormat(3, "float32")) as opened,
        pytest.raises(DataError, match=r"tile 3 .* holds NaN or infinity"),
    ):
        opened[slice(0, 64), slice(0, 64)]


def test_a_tile_of_zero_bytes_holds_no_data(tmp_path):
    file = tmp_path / "sparse.tif"
    tiles = [smooth(32, 32), None, None, smooth(32, 32)]
    options = {"tile": (32, 32), "photometric": "rgb", "compression": "zlib"}
    tifffile.imwrite(file, iter(tiles), shape=(64, 64, 3), dtype="uint8", **options)
    with open_tiled(file, RGB) as opened:
        found = opened[slice(0, 64), slice(0, 64)]
    np.testing.assert_array_equal(found[:32, :32], tiles[0])
    assert not found[:32, 32:].any()


def test_files_that_are_not_tiled_images(tmp_path, monkeypatch):
    image = smooth(40, 48)
    path = tmp_path / "a.tif"
    Image.fromarray(image).convert("P").save(path)
    expect = {RGB: r"a\.tif: its colours are stored as PALETTE\. Convert it: vips tiffsave"}
    check(path, expect)
    tifffile.imwrite(path, image.astype("uint16"), photometric="rgb")
    check(path, {RGB: r"3 channels of type uint16; expected 3 channels of type uint8"})
    check(path, {PixelFormat(4, "uint16"): r"3 channels of type uint16; expected 4 channels"})
    tifffile.imwrite(path, image, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    check(path, {RGB: r"stored rotated or mirrored \(orientation 6\)"})
    tifffile.imwrite(path, smooth(40, 48, 4), photometric="separated")
    check(path, {RGB: r"stored as SEPARATED"})
    monkeypatch.setattr("pdanet_tf.data.tiled_tiff._LARGEST_PART", 1000)
    tifffile.imwrite(path, image, photometric="rgb", compression="zlib", rowsperstrip=40)
    check(path, {RGB: r"compressed parts of 5,760 bytes, more than 1,000\. Convert it to a tiled"})
    for content in (b"", b"no image", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\0\0"):
        path.write_bytes(content)
        check(path, {RGB: r"a\.tif: "})
    check(tmp_path / "missing.tif", {RGB: r"missing\.tif: there is no such file"})


def check(path, expected):
    for pixel_format, message in expected.items():
        with pytest.raises(DataError, match=message), open_tiled(path, pixel_format):
            pass


def test_the_command_segments_in_tiles(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model.save("model.keras")
    image = smooth(96, 80)
    Path("in/sub").mkdir(parents=True)
    tifffile.imwrite("in/sub/a.tif", image, tile=(32, 32), photometric="rgb", bigtiff=True)
    assert struct.unpack("<H", Path("in/sub/a.tif").read_bytes()[2:4]) == (43,)  # BigTIFF
    assert is_tiff("in/sub/a.tif")
    Image.fromarray(image).save("in/b.png")
    Path("in/c.tif").write_bytes(b"II*\0")
    command = ["predict", "in", "--model", "model.keras", "--output", "out", "--tile", "32"]
    assert cli.main([*command, "--overlap", "8", "--palette"]) == 1
    printed = capsys.readouterr()
    assert "in/c.tif" in printed.err
    assert "The label maps are in out" in printed.out
    protocol = ["--max-size", "96", "--crop-size", "32", "32", "--stride", "24", "24"]
    whole = ["predict", "in/b.png", "--model", "model.keras", "--output", "whole", *protocol]
    assert cli.main([*whole, "--palette"]) == 0
    expected = np.asarray(Image.open("whole/b_labels.png"))
    colors = Image.open("whole/b_labels.png").getpalette()[:9]
    for name in ("out/sub/a_labels.tif", "out/b_labels.tif"):
        with Image.open(name) as labels:
            assert labels.mode == "P"
            assert labels.getpalette()[:9] == colors
            assert (np.asarray(labels) == expected).mean() > 0.999
    lines = Path("out/manifest.jsonl").read_text().splitlines()
    done = {Path(record["file"]).name: record for record in map(json.loads, lines)}
    assert done["a.tif"]["results"] == {"labels": "sub/a_labels.tif"}
    assert done["a.tif"]["size"] == [96, 80]
    assert sum(done["a.tif"]["classes"].values()) == pytest.approx(1)
    assert done["c.tif"]["error"]
    # Results are no images of a folder, and are replaced only if they are unchanged.
    capsys.readouterr()
    assert cli.main([*command[:1], "out", "in/b.png", *command[2:]]) == 1
    assert "folder holds no image" in capsys.readouterr().err
    labels = tifffile.imread("out/b_labels.tif")
    description = tifffile.tiffcomment("out/b_labels.tif")
    tifffile.imwrite("out/b_labels.tif", 2 - labels, description=description, metadata=None)
    assert cli.main([*command, "--flip"]) == 1
    assert "b_labels.tif: this file exists, and is not an earlier result" in capsys.readouterr().err
    np.testing.assert_array_equal(tifffile.imread("out/b_labels.tif"), 2 - labels)


def test_a_large_png_has_to_be_converted(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(smooth(64, 64)).save(tmp_path / "a.png")
    message = (
        rf"Only a TIFF is read in windows.* Convert it to one: vips tiffsave '{tmp_path}/a\.png'"
    )
    with pytest.raises(DataError, match=message):
        segment_large(Predictor(model), tmp_path / "a.png", tmp_path / "b.tif", Windows())
    assert conversion_command("a b.png").startswith("vips tiffsave 'a b.png' 'a b_tiled.tif'")
    tifffile.imwrite(tmp_path / "a.tif", smooth(64, 64), tile=(32, 32), photometric="rgb")
    size, _ = segment_large(Predictor(model), tmp_path / "a.tif", tmp_path / "b.tif", Windows(64))
    assert size == (64, 64)


def test_without_tifffile_the_message_names_the_extra(tmp_path):
    script = (
        "import sys; sys.modules['tifffile'] = None\n"
        "from pdanet_tf.data.tiled_tiff import open_tiled\n"
        "from pdanet_tf.base.pixel_format import RGB\n"
        "with open_tiled('a.tif', RGB): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'pdanet_tf[tiff]'" in done.stderr
