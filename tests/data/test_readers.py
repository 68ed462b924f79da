"""Files as they come: every bit depth, every kind of damage, one error that names the file."""

import functools
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from pdanet_tf import cli
from pdanet_tf.data import DataError, read_image, read_label
from pdanet_tf.data.readers import (
    EncodedFile,
    image_mode,
    image_size,
    inspect_image,
    is_sideways,
    set_pixel_limit,
)
from tests.support.png import chunk, encode_png, png_file

READERS = (
    read_image,
    functools.partial(read_image, honour_orientation=True),
    read_label,
    image_size,
    image_mode,
    inspect_image,
    is_sideways,
)


def png(bits, numbers, color_type=0, *chunks):
    """A PNG of one row of numbers, as stored: grey (0) or a palette (3)."""
    if bits == 16:
        row = np.array(numbers, ">u2").tobytes()
    else:
        digits = "".join(f"{number:0{bits}b}" for number in numbers)
        row = int(digits, 2).to_bytes(len(digits) // 8, "big")
    header = struct.pack(">IIBBBBB", len(numbers), 1, bits, color_type, 0, 0, 0)
    return png_file(header, *chunks, chunk(b"IDAT", zlib.compress(b"\0" + row)))


def tiff(bits, photometric, data, width, sample_format=1, order="<"):
    """A TIFF of one row, whose bytes are given; photometric 0: 0 is white, 1: 0 is black."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 1}
    tags |= {279: len(data), 339: sample_format}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    content = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(tags))
    for tag, value in sorted(tags.items()):
        content += struct.pack(f"{order}HHII", tag, 4, 1, value)
    return content + struct.pack(f"{order}I", 0) + data


def label_of(content):
    return read_label(EncodedFile("label", content))[0].tolist()


def image_of(content):
    return read_image(EncodedFile("image", content))[0, :, 0].tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_numbers_of_every_bit_depth_are_read_as_stored(bits):
    numbers = [0, 1] * 4 if bits == 1 else [3, 0, 2, 1, 1, 2, 0, 3]
    assert label_of(png(bits, numbers)) == numbers
    palette = chunk(b"PLTE", bytes(range(255, 255 - 3 * 2 ** min(bits, 4), -1)))
    assert label_of(png(bits, numbers, 3, palette)) == numbers
    packed = int("".join(f"{n:0{bits}b}" for n in numbers), 2).to_bytes(bits, "big")
    for photometric in (0, 1):
        for order in "<>":
            assert label_of(tiff(bits, photometric, packed, 8, order=order)) == numbers
    # Images are grey values, from black to white, and white is 0 where the file says so.
    grey = [255 * number // (2**bits - 1) for number in numbers]
    assert image_of(png(bits, numbers)) == grey
    assert image_of(tiff(bits, 1, packed, 8)) == grey
    assert image_of(tiff(bits, 0, packed, 8)) == [255 - value for value in grey]


def test_wide_numbers_are_read_as_stored():
    numbers = [0, 300, 4095, 65535]
    assert label_of(png(16, numbers)) == numbers
    for order in "<>":
        data = np.array(numbers, f"{order}u2").tobytes()
        assert label_of(tiff(16, 1, data, 4, order=order)) == numbers
        assert image_of(tiff(16, 1, data, 4, order=order)) == [0, 1, 15, 255]
    data = np.array(numbers, "<u2").tobytes()
    assert label_of(tiff(16, 0, data, 4)) == numbers
    assert image_of(tiff(16, 0, data, 4)) == [255, 253, 239, 0]
    twelve = bytes.fromhex("00012cfff000")  # 0, 300, 4095, 0
    assert label_of(tiff(12, 1, twelve, 4)) == [0, 300, 4095, 0]
    assert image_of(tiff(12, 1, twelve, 4)) == [0, 18, 255, 0]
    # Signed numbers: -1 is below every class, and not 255.
    for kind, bits in (("i1", 8), ("<i2", 16), ("<i4", 32)):
        data = np.array([-1, 0, 2], kind).tobytes()
        assert label_of(tiff(bits, 1, data, 3, sample_format=2)) == [-1, 0, 2]
    with pytest.raises(DataError, match=r"label: .*mode F"):
        label_of(tiff(32, 1, np.zeros(4, "<f4").tobytes(), 4, sample_format=3))


def test_the_mode_shows_packed_grey():
    modes = [image_mode(EncodedFile("label", png(bits, [0, 1] * 4))) for bits in (1, 2, 4, 8)]
    assert modes == ["1", "L;2", "L;4", "L"]


def test_a_palette_bmp_holds_its_indices(tmp_path):
    image = Image.fromarray(np.tile(np.arange(3, dtype="uint8"), (4, 4)))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "palette.bmp")
    assert read_label(tmp_path / "palette.bmp")[0, :3].tolist() == [0, 1, 2]
    assert read_image(tmp_path / "palette.bmp")[0, 0].tolist() == [200, 0, 0]


def test_annotations_in_a_lossy_format_are_refused(tmp_path):
    mask = Image.fromarray(np.zeros((8, 8), "uint8"))
    mask.save(tmp_path / "mask.png", "JPEG")
    mask.save(tmp_path / "mask.tif", compression="jpeg")
    for name, format_name in (("mask.png", "JPEG"), ("mask.tif", "TIFF")):
        with pytest.raises(DataError, match=rf"mask.*{format_name}.* exactly.*as a PNG"):
            read_label(tmp_path / name)


@pytest.mark.parametrize(
    ("bits", "dark"), [(8, True), (11, True), (12, True), (14, True), (15, False), (16, False)]
)
def test_unused_bits_of_16_are_reported(bits, dark, tmp_path):
    ramp = np.linspace(0, 2**bits - 1, 40 * 40).astype("uint16").reshape(40, 40)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    (tmp_path / "rgb.png").write_bytes(encode_png(np.repeat(ramp[..., None], 3, -1)))
    for name in ("grey.png", "rgb.png"):
        problems = [p for p in inspect_image(tmp_path / name)[1] if p.kind == "nearly black"]
        assert bool(problems) == dark, name
        for problem in problems:
            assert problem.severity == "warning"
            assert "does not use all of its 16 bits" in problem.text
            assert f"with {bits} bits" in problem.text


def noise(height=12, width=16):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_as_pillow_does(orientation, tmp_path):
    for ending in ("png", "jpg", "webp"):
        path = tmp_path / f"turned.{ending}"
        Image.fromarray(noise()).save(path, exif=turned(orientation))
        expected = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        np.testing.assert_array_equal(read_image(path, True), np.asarray(expected))
        assert read_image(path).shape == (12, 16, 3)
        assert is_sideways(path) == (orientation > 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_read_right_or_refused(orientation, tmp_path):
    path = tmp_path / "turned.tif"
    grey = np.arange(12 * 16, dtype="uint8").reshape(12, 16)
    upright = ImageOps.exif_transpose(_tagged(grey, orientation))
    for compression in (None, "tiff_lzw"):
        Image.fromarray(grey).save(path, exif=turned(orientation), compression=compression)
        if orientation > 4 and not compression:
            for read in (read_image, read_label, inspect_image):
                with pytest.raises(DataError, match=r"turned\.tif: .*Save it upright"):
                    read(path)
        else:
            np.testing.assert_array_equal(read_label(path), np.asarray(upright))
            assert image_size(path) == read_label(path).shape
            for honour in (False, True):
                assert read_image(path, honour).shape[:2] == image_size(path)


def _tagged(grey, orientation):
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", exif=turned(orientation))
    return Image.open(file)


@pytest.mark.parametrize(
    "exif",
    [
        b"\0\x08\0\x02\x01\x12\0\x03",  # no header
        b"II*\0\xff\xff\xff\x7f",  # the directory lies outside
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0up\0\0\0\0\0\0",  # a word
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",  # orientation 99
        b"",
    ],
)
def test_a_broken_tag_counts_as_upright(exif, tmp_path):
    image = Image.fromarray(noise())
    image.save(tmp_path / "tag.png")
    content = (tmp_path / "tag.png").read_bytes()
    (tmp_path / "tag.png").write_bytes(content[:33] + chunk(b"eXIf", exif) + content[33:])
    image.save(tmp_path / "tag.jpg", exif=b"Exif\0\0" + exif)
    image.save(tmp_path / "tag.webp", exif=b"Exif\0\0" + exif)
    for ending in ("png", "jpg", "webp"):
        path = tmp_path / f"tag.{ending}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, that the tag is broken
            np.testing.assert_array_equal(read_image(path, True), read_image(path))
            assert inspect_image(path)[1] == []
            assert not is_sideways(path)


def _cut_phys():
    return png(8, [0, 1], 0, chunk(b"pHYs", b"\0\0"))


def _long_text():
    text = zlib.compress(b" " * (PngImagePlugin.MAX_TEXT_CHUNK + 1))
    return png(8, [0, 1], 0, chunk(b"zTXt", b"Comment\0\0" + text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (
            b"no image",
            "not an image that can be read; expected BMP, GIF, JPEG, PNG, TIFF or WebP. Replace or "
            "remove the file",
        ),
        (_cut_phys(), "Truncated pHYs chunk"),
        (_long_text(), "too large"),
        (png(8, list(range(200)))[:-100], "cannot be read"),
        (png(8, [0] * 2).replace(struct.pack(">II", 2, 1), struct.pack(">II", 0, 1)), ""),
    ],
)
def test_what_cannot_be_read_is_named(content, message, tmp_path):
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    for source, name in ((path, str(path)), (EncodedFile("in a zip", content), "in a zip")):
        for read in (read_image, read_label, inspect_image):
            with pytest.raises(DataError) as caught:
                read(source)
            assert str(caught.value).startswith(f"{name}: ")
            assert message in str(caught.value)


def test_the_formats_that_are_read(tmp_path):
    image = Image.fromarray(noise())
    path = tmp_path / "image.any"
    for name in ("BMP", "DIB", "GIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP"):
        more = {"save_all": True, "append_images": [image]} if name == "MPO" else {}
        image.save(path, name, **more)
        assert read_image(path).shape == noise().shape, name
    for name in ("EPS", "PPM", "TGA", "ICO", "PDF"):
        image.save(path, name)
        for read in READERS:
            with pytest.raises(DataError, match=r"image\.any: .*expected BMP, GIF, JPEG, PNG"):
                read(path)


def test_a_folder_a_missing_file_and_one_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "x.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "sound.png").write_bytes(png(8, [0, 1]))

    def refuse(*_, **_options):
        raise PermissionError(13, "Permission denied")

    for name, message in (
        ("x.png", "this is a folder, not a file"),
        ("link.png", "there is no such file"),
        ("sound.png/x.png", "there is no such file"),
        ("nowhere.png", "there is no such file"),
        ("n" * 300 + ".png", "name too long"),
        ("sound.png", "there is no permission to read this file"),
    ):
        if name == "sound.png":
            monkeypatch.setattr(Image, "open", refuse)
        for read in READERS:
            with pytest.raises(DataError, match=message) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


def test_a_large_image_is_refused_with_limit_and_remedy(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.fromarray(noise(20, 25)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 249)
    for read in READERS:
        with pytest.raises(DataError) as caught:
            read(path)
        for part in (
            "large.png",
            "500 pixels",
            "limit of 498 pixels",
            "PIL.Image.MAX_IMAGE_PIXELS =",
            "PDANET_TF_MAX_PIXELS=",
        ):
            assert part in str(caught.value)
    # Between the limit and the half of it, the image is read, and Pillow warns.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 251)
    with pytest.warns(Image.DecompressionBombWarning):
        assert read_image(path).shape == (20, 25, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"large\.png.*limit of 251 pixels"):
            read_image(path)
    monkeypatch.setenv("PDANET_TF_MAX_PIXELS", "500")
    set_pixel_limit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (20, 25, 3)


@pytest.mark.parametrize("value", ["0", "-3", "1e9", "many"])
def test_a_limit_that_is_no_number_is_refused(value, monkeypatch, capsys):
    monkeypatch.setenv("PDANET_TF_MAX_PIXELS", value)
    assert cli.main(["validate-data", "--split", "validation"]) == 1
    shown = capsys.readouterr().err
    assert "PDANET_TF_MAX_PIXELS must be the largest allowed number of pixels" in shown
    assert repr(value) in shown


def _seeds():
    """Small files of every kind, with tags where the kind has some."""
    image, exif = Image.fromarray(noise()), turned(6)
    label = Image.fromarray(noise()[..., 0] % 7)
    palette = label.copy()
    palette.putpalette(list(range(48)))
    words = PngImagePlugin.PngInfo()
    words.add_text("one", "word")
    words.add_itxt("two", "words" * 9, zip=True)
    for name, content, options in (
        ("rgb.png", image, {"exif": exif, "pnginfo": words, "dpi": (72, 72)}),
        ("palette.png", palette, {"transparency": b"\0\1\2"}),
        ("photo.jpg", image, {"exif": exif, "dpi": (72, 72)}),
        ("raw.tif", label, {"exif": turned(2)}),
        ("palette.bmp", palette, {}),
        ("photo.webp", image, {"exif": exif}),
    ):
        file = io.BytesIO()
        content.save(file, Image.registered_extensions()[name[name.index(".") :]], **options)
        yield pytest.param(name, file.getvalue(), id=name)


def _mutate(content, rng):
    content = bytearray(content)
    place = int(rng.integers(len(content)))
    kind = rng.integers(4)
    if kind == 0:
        for place in rng.integers(len(content), size=rng.integers(1, 6)):
            content[place] = rng.integers(256)
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        del content[place : place + int(rng.integers(1, 20))]
    else:
        content[place % 120] ^= 1 << int(rng.integers(8))  # in the header
    return bytes(content)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what is broken
@pytest.mark.parametrize(("name", "content"), list(_seeds()))
def test_200_mutations_are_read_or_refused_by_name(name, content, tmp_path):
    path = tmp_path / name
    refused = 0
    for seed in range(200):
        path.write_bytes(_mutate(content, np.random.default_rng(seed)))
        for read in READERS:
            message = None
            try:
                result = read(path)
            except DataError as error:
                refused += 1
                message = str(error)
            if message is None:
                assert not isinstance(result, np.ndarray) or result.size
            else:
                assert message.startswith(f"{path}: "), seed
                assert "\n" not in message
    assert 200 < refused < 200 * len(READERS)


def test_cases_of_single_files(shared_cases):
    assert read_image(shared_cases / "01_png_broken_exif.png", True).shape == (96, 128, 3)
    broken = shared_cases / "02_png_truncated_phys.png"
    for read in READERS:
        with pytest.raises(DataError, match=r"02_png_truncated_phys\.png: "):
            read(broken)
    label = read_label(shared_cases / "07_mask_grey_2bit.png")
    assert np.unique(label).tolist() == [0, 1, 2, 3]
    (note, problem) = inspect_image(shared_cases / "08_grey_12bits_in_16.png")[1]
    assert note.kind == "not RGB"
    assert "nearly black, because it does not use all of its 16 bits" in problem.text
    with pytest.raises(DataError) as caught:
        image_size(shared_cases / "14_182_megapixels.png")
    for part in ("182000000", "178956970", "MAX_IMAGE_PIXELS", "PDANET_TF_MAX_PIXELS"):
        assert part in str(caught.value)
