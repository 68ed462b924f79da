"""Models exported for TensorFlow Serving."""

import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.data.readers import EncodedFile, read_image, resize_image
from pdanet_tf.exporting import saved_model as export
from pdanet_tf.exporting.saved_model import _resize, _working_sizes, decode_image
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.ops.resize import bilinear_resize
from tests.support.images import random_image
from tests.support.protocols import (
    PROTOCOLS,
    build_decisive_model,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18", num_classes=3)


def test_export_answers_where_the_package_is_not_installed(model, tmp_path):
    folder = tmp_path / "served" / "1"
    pdanet_tf.export_saved_model(model, folder, Protocol((40, 64)))
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    size = sum(path.stat().st_size for path in (folder / "variables").iterdir())
    assert size < 1.01 * sum(variable.numpy().nbytes for variable in model.variables)
    images = [random_image(40, 56), random_image(61, 33)]
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    Image.fromarray(images[1]).save(tmp_path / "b.png")
    Image.fromarray(images[1]).save(tmp_path / "c.jpg")
    script = f"""
import sys
sys.modules["pdanet_tf"] = sys.modules["keras"] = None
import tensorflow as tf
served = tf.saved_model.load({str(folder)!r}).signatures["serving_default"]
files = [{str(tmp_path)!r} + "/" + name for name in ("a.png", "b.png", "c.jpg")]
answer = served(image_bytes=tf.constant([open(file, "rb").read() for file in files]))
for file, label_map in zip(files, answer["label_map_bytes"].numpy()):
    open(file + ".labels.png", "wb").write(label_map)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    predictor = Predictor(model, Protocol((40, 64)))
    for name in ("a.png", "b.png", "c.jpg"):
        served = np.asarray(Image.open(tmp_path / f"{name}.labels.png"))
        with Image.open(tmp_path / name) as image:
            expected = predictor.label_map(np.asarray(image))
        assert served.shape == expected.shape
        # The images are resized by another library, which rounds differently here and there.
        assert (served == expected).mean() > 0.99
    with pytest.raises(FileExistsError, match="served"):
        pdanet_tf.export_saved_model(model, folder)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_export_decodes_what_training_reads(shared_cases):
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(random_image(6, 8)).resize((80, 60), Image.BICUBIC))
    image = Image.fromarray(smooth)
    grey = Image.fromarray(rng.integers(0, 65536, (20, 30)).astype("uint16"))
    decode = tf.function(decode_image, input_signature=[tf.TensorSpec((), tf.string)])
    for encoded in (
        encode(image, "JPEG", quality=80),
        encode(image, "JPEG", progressive=True, subsampling=0),
        encode(image.convert("L"), "JPEG"),
        *(encode(image.convert(mode), "PNG") for mode in ("RGB", "RGBA", "LA", "L", "P", "1")),
        encode(grey, "PNG"),
        *(encode(image.convert(mode), "BMP") for mode in ("RGB", "RGBA")),
        encode(image, "GIF"),
    ):
        expected = read_image(EncodedFile("image", encoded))
        np.testing.assert_array_equal(decode(encoded), expected)
    for encoded, message in (
        (encode(image.convert("CMYK"), "JPEG"), "CMYK"),
        ((shared_cases / "06_palette.bmp").read_bytes(), "24 or 32 bits"),
        (encode(image, "WEBP"), "another format"),
        (b"", "another format"),
        (b"BM", "24 or 32 bits"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decode(encoded)


def test_the_export_resizes_nearly_as_prediction_does():
    image = np.asarray(Image.fromarray(random_image(12, 16)).resize((160, 120), Image.BICUBIC))
    for size in ((90, 120), (180, 240), (120, 160), (64, 200)):
        found, expected = np.asarray(_resize(image, size)), resize_image(image, size)
        assert np.abs(found - expected).max() <= 2
        assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("size", [(37, 53), (7, 2), (1, 1)])
def test_export_labels_images_in_strips(views, size, monkeypatch):
    monkeypatch.setattr(export, "VALUES_PER_STRIP", 53 * 4 * 5)
    rng = np.random.default_rng(0)
    logits = [tf.constant(rng.normal(0, 2, (5 + n, 7, 4)), "float32") for n in range(views)]

    @tf.function
    def label_map(logits, size):
        return export._label_map([export._place(x, size, size, None) for x in logits], size)

    found = label_map(logits, tf.constant(size))
    resized = [bilinear_resize(view[None], size)[0] for view in logits]
    expected = np.mean([tf.nn.softmax(view) for view in resized], axis=0).argmax(-1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("short_edges", [None, (300, 450, 600)])
def test_export_resizes_to_the_sizes_of_the_protocol(short_edges):
    protocol = Protocol(short_edges, 600)
    for size in ((33, 47), (512, 739), (739, 512), (2000, 3000), (4, 5), (450, 450)):
        found = [tuple(size.numpy()) for size in _working_sizes(tf.constant(size), protocol)]
        assert found == protocol.sizes(size)


@pytest.mark.slow
def test_an_exported_model_flips_and_refuses_windows(tmp_path):
    model = build_decisive_model()
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype("uint8")
    protocol = Protocol((24,), flip=True)
    folder = pdanet_tf.export_saved_model(model, tmp_path / "1", protocol)
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    encoded = tf.io.encode_png(image)[None]
    found = tf.io.decode_png(serve(image_bytes=encoded)["label_map_bytes"][0])[..., 0]
    expected = Predictor(model, protocol).label_map(image)
    assert np.mean(found.numpy() == expected) > 0.999
    with pytest.raises(ValueError, match=r"crop_size=\(24, 24\)"):
        pdanet_tf.export_saved_model(model, tmp_path / "2", PROTOCOLS["everything"])
