"""The models in other runtimes, converted for images of any size."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf.layers import PyramidDualAttention, PyramidFusion
from pdanet_tf.ops.portable import plain_operations

# LiteRT's successor has the same converter, in a package of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")


def whole(name):
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model(name, num_classes=5)
    for variable in model.trainable_variables:
        if variable.path.endswith("attention/gamma"):  # 0 would switch attention off
            variable.assign(0.5)
    return model


def head():
    """Layers that only these models have, with Winograd convolutions."""
    features = keras.Input((None, None, 256))
    levels = PyramidDualAttention(256, (1, 2), upsample=False)(features)
    return keras.Model(features, PyramidFusion(256)([features, *levels]))


def assert_equal(model, convert):
    *_, channels = model.input.shape
    for size in ((40, 56), (33, 47)):
        images = np.random.default_rng(0).uniform(0, 255, (1, *size, channels)).astype("float32")
        expected = model(images).numpy()
        np.testing.assert_allclose(
            convert(images), expected, atol=1e-5 * np.abs(expected).max(), rtol=0
        )


def check_onnx(runtime, model, path):
    model(np.zeros((1, 8, 8, model.input.shape[-1])))  # Keras exports only models that were called
    model.export(str(path), format="onnx", verbose=False)
    session = runtime.InferenceSession(str(path))
    assert_equal(model, lambda images: session.run(None, {session.get_inputs()[0].name: images})[0])


def check_litert(model, folder):
    model.export(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    source, target = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        interpreter.resize_tensor_input(source[0]["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source[0]["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target[0]["index"])

    assert_equal(model, run)


def test_onnx_takes_the_head(onnxruntime, tmp_path):
    check_onnx(onnxruntime, head(), tmp_path / "head.onnx")


@pytest.mark.slow
def test_litert_takes_the_head(tmp_path):
    check_litert(head(), tmp_path / "head")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pdanet_resnet18", "danet_resnet18"])
def test_onnx_takes_whole_models(onnxruntime, name, tmp_path):
    check_onnx(onnxruntime, whole(name), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pdanet_resnet18", "danet_resnet18"])
def test_litert_takes_whole_models(name, tmp_path):
    # The converter refuses loops whose tensors grow.
    with plain_operations() if name.startswith("danet") else contextlib.nullcontext():
        check_litert(whole(name), tmp_path / "model")
