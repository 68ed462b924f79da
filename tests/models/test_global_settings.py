"""Keras' global settings, as in `keras.json`, do not change any number."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf.layers import ContextModule
from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.metrics import MeanIoU, PixelAccuracy
from pdanet_tf.ops.portable import plain_operations
from pdanet_tf.optimizers import SGD
from pdanet_tf.weights.files import load_keras_file

# Between them they have every layer and every pool.
MODELS = ("pdanet_resnet18", "deeplab_largefov_vgg16")


def draw_weights(model):
    """Draws the same weights in every process."""
    for weight in model.weights:
        rng = np.random.default_rng(zlib.crc32(weight.path.encode()))
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.0, weight.shape))
        else:
            fan_in = max(1, int(np.prod(weight.shape[:-1])))
            weight.assign(rng.standard_normal(weight.shape) / np.sqrt(fan_in))
    return model


def build(name, **options):
    return draw_weights(pdanet_tf.build_model(name, num_classes=3, **options))


def image():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype("uint8")


def compute(folder):
    """Builds, trains, saves, loads and predicts; returns all results by name."""
    results = {name: build(name)(image()[None]) for name in MODELS}
    context = ContextModule("basic", name="context")
    context.build((None, None, None, 3))
    results["context"] = draw_weights(context)(np.ones((1, 9, 9, 3), "float32"))
    model = build("segnet_basic", aux_head=True, upsample=False)
    model.save(folder / "written.keras")
    loss = SegmentationCrossEntropy()
    model.compile(SGD(0.01), loss, metrics={"logits": [MeanIoU(3)]}, run_eagerly=True)
    labels = np.random.default_rng(0).integers(0, 3, (1, 40, 56)).astype("uint8")
    labels = {"logits": labels, "aux_logits": labels}
    history = model.fit(image()[None], labels, verbose=0).history
    results |= {name: np.array(values) for name, values in history.items()}
    results |= {f"trained {w.path}": w for w in model.trainable_weights if "classifier" in w.path}
    loaded = load_keras_file(folder / "given.keras")
    results["loaded"] = loaded(image()[None])["logits"]
    results["predicted"] = pdanet_tf.predict(image(), loaded).label_map
    return {name: keras.ops.convert_to_numpy(value) for name, value in results.items()}


def serve(folder):
    """Exports a model, loads it, and returns the label map that it serves."""
    pdanet_tf.export_saved_model(folder / "given.keras", folder / "exported" / "1")
    endpoint = tf.saved_model.load(folder / "exported" / "1").signatures["serving_default"]
    encoded = endpoint(image_bytes=tf.io.encode_png(image())[None])["label_map_bytes"]
    return tf.io.decode_png(encoded[0])[..., 0]


@pytest.mark.slow
def test_the_same_numbers_under_another_keras_json(tmp_path):
    build("segnet_basic", aux_head=True).save(tmp_path / "given.keras")
    home = tmp_path / "home"
    home.mkdir()
    settings = {"floatx": "float64", "epsilon": 1e-7, "backend": "tensorflow"}
    settings["image_data_format"] = "channels_first"
    (home / "keras.json").write_text(json.dumps(settings))
    subprocess.run(
        [sys.executable, "-m", "tests.models.test_global_settings", str(tmp_path)],
        env={**os.environ, "KERAS_HOME": str(home)},
        check=True,
    )
    written = load_keras_file(tmp_path / "written.keras")
    assert written(image()[None])["logits"].shape == (1, 40, 56, 3)
    with plain_operations():  # as in float64; it is quicker to trace
        expected, found = compute(tmp_path), np.load(tmp_path / "results.npz")
    assert set(found) == {*expected, "served"}
    np.testing.assert_array_equal(found["served"], expected["predicted"])
    for name, values in expected.items():
        tolerance = 1e-4 * max(1.0, float(np.std(values)))
        np.testing.assert_allclose(found[name], values, atol=tolerance, rtol=0, err_msg=name)


@pytest.fixture
def half_precision():
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("half_precision")
def test_scores_losses_and_metrics_stay_float32():
    model = build("segnet_basic")
    assert model.get_layer("decoder1_conv1").compute_dtype == "float16"
    assert model(image()[None]).dtype == "float32"
    assert pdanet_tf.predict(image(), model).label_map.shape == (40, 56)
    assert BatchNorm().variable_dtype == "float32"
    labels = np.zeros((1, 300, 300), "uint8")
    logits = np.zeros((1, 300, 300, 3), "float32")
    loss = SegmentationCrossEntropy()(labels, logits)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, np.log(3), rtol=1e-5)
    for metric, expected in ((MeanIoU(3), 1 / 3), (PixelAccuracy(3), 1)):
        metric.update_state(labels, logits)
        assert metric.result().dtype == "float32"
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_pixels_are_normalised_alike_whatever_the_default_dtype(half_precision):
    pixels = np.arange(256, dtype="uint8").repeat(3).reshape(1, 16, 16, 3)
    layer = pdanet_tf.layers.PixelNormalization(dtype="float32")
    expected = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(layer(pixels), expected, atol=1e-5)


if __name__ == "__main__":
    here = Path(sys.argv[1])
    np.savez(here / "results.npz", **compute(here), served=serve(here))
