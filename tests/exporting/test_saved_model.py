"""Models exported for TensorFlow Serving."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.data.classes import Classes
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
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
    classes = Classes(("sky", "road, wet", "tree"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    pdanet_tf.export_saved_model(model, folder, Protocol((40, 64)), classes=classes)
    text = (folder / "assets" / "classes.csv").read_text("utf-8")
    assert text == 'label,name,red,green,blue\n0,sky,1,2,3\n1,"road, wet",4,5,6\n2,tree,7,8,9\n'
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
assert answer["height"].numpy().tolist() == [40, 61, 61]
assert not any(answer["error"].numpy())
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    predictor = Predictor(model, Protocol((40, 64)))
    for name in ("a.png", "b.png", "c.jpg"):
        served = np.asarray(Image.open(tmp_path / f"{name}.labels.png"))
        with Image.open(tmp_path / name) as image:
            expected = predictor.label_map(np.asarray(image))
        assert served.shape == expected.shape
        # The images are resized by another library, which rounds differently here and there.
        assert (served == expected).mean() > 0.999
    with pytest.raises(FileExistsError, match="served"):
        pdanet_tf.export_saved_model(model, folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": Classes.numbered(2)}, "3 classes. Received: 2 classes"),
        ({"max_pixels": 0}, "max_pixels must be from 1 to 2,147,483,647. Received: max_pixels=0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.export_saved_model(model, tmp_path / "1", **options)
    assert not [*tmp_path.iterdir()]


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
