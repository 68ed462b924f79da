"""Images of any number of channels, in the values of their files.

The files in `channels` were written by OpenCV 5.0, pypng 0.20220715.0 and tifffile 2026.3.3, from
the arrays in `channels/true.npz`.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data import DataError, FolderDataset, read_image
from pdanet_tf.data.channel_images import read_channels
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.load import load_dataset
from pdanet_tf.data.stored_images import open_stored
from pdanet_tf.data.validation import validate_dataset

FILES = Path(__file__).parent / "channels"
TRUE = dict(np.load(FILES / "true.npz"))
# Pillow reads these; the others require the extra.
PLAIN = [name for name in TRUE if name.endswith("8.png") or name == "opencv_1x16.png"]


def check_file(path, true):
    expected = PixelFormat(true.shape[-1], true.dtype.name)
    found = read_channels(path, expected)
    assert found.dtype == true.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, true)
    with open_stored(path, expected.channels) as stored:
        assert (stored.size, stored.channels) == (true.shape[:2], true.shape[2])
        assert stored.dtype == true.dtype.name


@pytest.mark.parametrize("name", PLAIN)
def test_files_of_other_packages(name):
    check_file(FILES / name, TRUE[name])


def test_files_that_require_the_extra(imagecodecs):
    others = [name for name in TRUE if name not in PLAIN]
    assert len(others) == 17
    for name in others:
        check_file(FILES / name, TRUE[name])


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
def test_npy(channels, dtype, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    check_file(tmp_path / "a.npy", pixels.astype(np.dtype(dtype).newbyteorder("=")))
    if channels == 1:
        np.save(tmp_path / "a.npy", pixels[..., 0])
        check_file(tmp_path / "a.npy", pixels.astype(np.dtype(dtype).newbyteorder("=")))


def save_npy(array):
    def save(path):
        with path.open("wb") as file:
            np.save(file, array)

    return save


def save_mode(mode, **options):
    return lambda path: Image.new("L", (8, 8)).convert(mode).save(path, "PNG", **options)


FOUR = np.zeros((6, 8, 4), "uint16")


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_npy(FOUR[..., :3]), r"image: the image has 3 channels; expected 4\. .*set channels"),
        (save_npy(FOUR.astype("uint8")), r"image: .*type uint8; expected uint16, as in first\.tif"),
        (save_npy(FOUR.astype("int16")), r"image: .*type int16; expected uint16"),
        (
            save_npy(np.moveaxis(FOUR, -1, 0)),
            r"shape \(4, 6, 8\), with the channels first.*\(height",
        ),
        (save_npy(FOUR[0, 0]), r"shape \(4,\)\. Save it as \(height, width, channels\)"),
        (save_npy(FOUR[:0]), "has no pixels"),
        (save_npy(np.array([{}])), "cannot be read: .*Python objects"),
        (save_mode("P"), "has a palette, so its values are indices"),
        (save_mode("1"), r"mode 1 .*Save it with 8 or 16 bits"),
        (save_mode("L"), "has 1 channel; expected 4"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"hello"), "not an image that can be read"),
        (lambda path: path.mkdir(), "this is a folder"),
        (lambda path: None, "there is no such file"),
    ],
)
def test_what_is_refused(save, message, tmp_path):
    save(tmp_path / "image")
    with pytest.raises(DataError, match=message) as caught:
        read_channels(tmp_path / "image", PixelFormat(4, "uint16"), "first.tif")
    assert str(tmp_path / "image") in str(caught.value)


def test_damaged_files(tmp_path, imagecodecs):
    np.save(tmp_path / "a.npy", FOUR)
    files = [tmp_path / "a.npy", *FILES.glob("*_4x16.*")]
    assert len(files) == 5
    for file in files:
        content = file.read_bytes()
        cut = tmp_path / f"cut{file.suffix}"
        cut.write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match="cut"):
            read_channels(cut, PixelFormat(4, "uint16"))


def test_values_that_are_not_finite(tmp_path):
    pixels = np.ones((5, 7, 2), "float32")
    pixels[3, 4, 1] = np.nan
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(DataError, match=r"a\.npy: the image holds NaN or infinity"):
        read_channels(tmp_path / "a.npy", PixelFormat(2, "float32"))


def test_the_limit_of_pixels(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", FOUR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23)  # the image has 48
    with pytest.raises(DataError, match=r"a\.npy: .*more pixels than the limit"):
        read_channels(tmp_path / "a.npy", PixelFormat(4, "uint16"))


@pytest.mark.parametrize(
    ("name", "module"), [("opencv_4x8.tif", "tifffile"), ("opencv_4x16.png", "imagecodecs")]
)
def test_a_missing_package_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    true = TRUE[name]
    with pytest.raises(ImportError, match=rf"{name}: .*requires {module}: .*extra 'channels'"):
        read_channels(FILES / name, PixelFormat(4, true.dtype.name))


def write_images(root, images, split="train"):
    """Writes images as .npy files, with annotations of three classes."""
    for index, image in enumerate(images):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        np.save(root / "images" / split / f"{index}.npy", image)
        label = np.indices(image.shape[:2]).sum(0) % 3
        Image.fromarray(label.astype("uint8")).save(root / "annotations" / split / f"{index}.png")
    return root


def open_folder(root, **options):
    return load_dataset("folder", "train", root, num_classes=3, **options)


def test_a_folder_of_four_channels(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 65536, (40, 48, 4)).astype("uint16") for _ in range(3)]
    root = write_images(tmp_path, images)
    dataset = open_folder(root, channels=4, mean=[1, 2, 3, 4])
    assert (dataset.pixel_format, dataset.mean) == (PixelFormat(4, "uint16"), (1.0, 2.0, 3.0, 4.0))
    assert dataset.size(1) == (40, 48)
    np.testing.assert_array_equal(dataset.read(1)[0], images[1])
    dataset.check()
    assert validate_dataset(dataset, progress=False).problems == ()
    with pytest.raises(DataError, match=r"3 \.npy files\. Set channels"):
        open_folder(root)
    # One file of other channels, one of another type.
    np.save(root / "images" / "train" / "1.npy", images[1][..., :3])
    np.save(root / "images" / "train" / "2.npy", images[2].astype("uint8"))
    with pytest.raises(DataError) as caught:
        dataset.check()
    assert "1.npy: the image has 3 channels; expected 4" in str(caught.value)
    assert "2.npy: the values of the image have the type uint8; expected uint16, as in" in str(
        caught.value
    )


def test_arguments_of_a_folder(tmp_path):
    root = write_images(tmp_path, [FOUR])
    for options, message in (
        ({"channels": 0}, "channels must be at least 1"),
        ({"channels": 4, "mean": (1, 2, 3)}, "mean must have one number per channel, 4"),
        ({"channels": 4, "std": (1, 1, 1, 0)}, "std must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            open_folder(root, **options)
    with pytest.raises(ValueError, match=r"'camvid'.*does not take channels"):
        load_dataset("camvid", "train", root, channels=4)


def test_splits_of_different_formats_are_reported(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 4))
    write_images(tmp_path, [noise.astype("uint16")])
    write_images(tmp_path, [noise.astype("uint8")], "validation")
    splits = {
        split: load_dataset("folder", split, tmp_path, num_classes=3, channels=4)
        for split in ("train", "validation")
    }
    (problem,) = [p for p in validate_dataset(splits, False).problems if p.severity == "fatal"]
    assert str(problem).startswith("validation: the images have 4 channels of type uint8, those of")


def test_rgb_folders_are_read_as_before(make_folder, tmp_path):
    root = make_folder()
    classes = Classes.numbered(3)
    plain, three = (
        FolderDataset(root, "train", classes, channels=channels) for channels in (None, 3)
    )
    assert plain.pixel_format.is_rgb
    assert three.pixel_format.is_rgb
    for index in range(len(plain)):
        np.testing.assert_array_equal(plain.read(index)[0], three.read(index)[0])
        assert isinstance(three.read_pil(index)[0], Image.Image)


def test_grey_of_16_bits_among_rgb_is_still_scaled(tmp_path):
    name = "opencv_1x16.png"
    for kind in ("images", "annotations"):
        (tmp_path / kind / "train").mkdir(parents=True)
    (tmp_path / "images" / "train" / "a.png").write_bytes((FILES / name).read_bytes())
    Image.new("L", (7, 5)).save(tmp_path / "annotations" / "train" / "a.png")
    grey = (TRUE[name].astype("uint32") * 255 // 65535).astype("uint8")
    for channels in (None, 3):
        image, _ = open_folder(tmp_path, channels=channels).read(0)
        np.testing.assert_array_equal(image, np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(read_image(FILES / name), np.repeat(grey, 3, -1))
    dataset = open_folder(tmp_path, channels=1)
    np.testing.assert_array_equal(dataset.read(0)[0], TRUE[name])


def test_three_channels_of_16_bits_are_not_converted(tmp_path, imagecodecs):
    for kind in ("images", "annotations"):
        (tmp_path / kind / "train").mkdir(parents=True)
    Image.new("L", (7, 5)).save(tmp_path / "annotations" / "train" / "a.png")
    for ending in ("png", "tif"):
        for old in (tmp_path / "images" / "train").iterdir():
            old.unlink()
        content = (FILES / f"opencv_3x16.{ending}").read_bytes()
        (tmp_path / "images" / "train" / f"a.{ending}").write_bytes(content)
        dataset = open_folder(tmp_path, channels=3)
        assert dataset.pixel_format == PixelFormat(3, "uint16")
        np.testing.assert_array_equal(dataset.read(0)[0], TRUE[f"opencv_3x16.{ending}"])
        dataset.examine(0)
