"""What other runtimes make of the models, their image's size left open."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf

SIZES = ((40, 56), (33, 47))


@pytest.fixture(params=["pdanet_resnet18", "danet_resnet18"])
def model(request):
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model(request.param, num_classes=5)
    for variable in model.trainable_variables:
        if variable.path.endswith("attention/gamma"):  # at 0 there would be no attention
            variable.assign(0.5)
    return model


def with_plain_attention(model):
    plain = pdanet_tf.build_model(model.name, num_classes=5, bounded_memory=False)
    plain.set_weights(model.get_weights())
    return plain


def assert_equal(model, convert):
    for size in SIZES:
        images = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype("float32")
        expected = model(images).numpy()
        np.testing.assert_allclose(
            convert(images), expected, atol=1e-5 * np.abs(expected).max(), rtol=0
        )


def test_onnx(model, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    model(np.zeros((1, 8, 8, 3)))  # Keras exports what has been called
    model.export(str(tmp_path / "model.onnx"), format="onnx", verbose=False)
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    assert_equal(model, lambda images: session.run(None, {session.get_inputs()[0].name: images})[0])


@pytest.mark.slow
def test_litert(model, tmp_path):
    if model.name.startswith("danet"):  # converters refuse loops whose tensors grow
        model = with_plain_attention(model)
    model.export(tmp_path / "model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model"))
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    source, target = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        interpreter.resize_tensor_input(source[0]["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source[0]["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target[0]["index"])

    assert_equal(model, run)
