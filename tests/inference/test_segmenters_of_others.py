"""Segmenters of KerasHub and KerasCV inside `Predictor`, compared with their own `predict`."""

import functools

import keras
import numpy as np
import pytest

from pdanet_tf.data import Classes
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from tests.support.hub_models import make_cv_mit, make_deeplab, make_mit, randomize

SCALE, OFFSET = [1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.12, -2.04, -1.8]


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")


def softmax(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


@pytest.fixture
def deeplab(keras_hub):
    return functools.partial(make_deeplab, keras_hub)


@pytest.mark.parametrize("scale", [None, 1 / 255, SCALE])
def test_the_preprocessor_is_honoured(deeplab, scale):
    converter = {} if scale is None else {"scale": scale, "offset": OFFSET}
    theirs = deeplab(**converter)
    pixels = image(64, 96)
    expected = theirs.predict(pixels[None].astype("float32"), verbose=0)[0]
    predictor = Predictor(theirs)
    np.testing.assert_allclose(predictor.probabilities(pixels), softmax(expected), atol=1e-5)
    prediction = predictor.predict(pixels)
    np.testing.assert_array_equal(prediction.label_map, expected.argmax(-1))
    assert predictor.classes == Classes.numbered(4)


@pytest.mark.parametrize("size", [(40, 72), (64, 64), (96, 32)])
def test_images_of_other_sizes(deeplab, size):
    theirs = deeplab(scale=1 / 255)
    pixels = image(*size)
    padding = [(0, -side % 32) for side in size]
    padded = np.pad(pixels, (*padding, (0, 0)), mode="edge")
    expected = theirs.predict(padded[None].astype("float32"), verbose=0)[0]
    found = Predictor(theirs).probabilities(pixels)
    np.testing.assert_allclose(found, softmax(expected)[: size[0], : size[1]], atol=1e-5)
    # An odd size is resized to multiples of 8 first, as for every model.
    assert Predictor(theirs).label_map(image(41, 67)).shape == (41, 67)


def test_probabilities_and_logits_give_the_same(deeplab):
    theirs = deeplab("softmax", scale=1 / 255)
    pixels = image(64, 64)
    expected = theirs.predict(pixels[None].astype("float32"), verbose=0)[0]
    assert expected.sum(-1) == pytest.approx(1, abs=1e-5)
    found = Predictor(theirs).probabilities(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    flipped = theirs.predict(pixels[None, :, ::-1].astype("float32"), verbose=0)[0, :, ::-1]
    both = Predictor(theirs, Protocol(flip=True)).probabilities(pixels)
    np.testing.assert_allclose(both, (expected + flipped) / 2, atol=1e-5)
    with pytest.raises(ValueError, match=r"the probabilities of a softmax\. Received: .*'sigmoid'"):
        Predictor(deeplab("sigmoid"))
    with pytest.raises(ValueError, match=r"The model has 4 classes\. Received: 3 classes"):
        Predictor(theirs, classes=Classes.numbered(3))
    with pytest.raises(ValueError, match=r"on Keras' backend only\. Received: runtime='openvino'"):
        Predictor(theirs, runtime="openvino")


def test_an_image_size_of_the_preprocessor(deeplab):
    theirs = deeplab(image_size=(64, 96), scale=1 / 255)
    for size in ((64, 96), (128, 192)):  # of that aspect ratio, so that nothing is cut off
        pixels = image(*size)
        expected = theirs.predict(pixels[None].astype("float32"), verbose=0)
        expected = keras.ops.image.resize(expected, size, interpolation="bilinear")[0]
        found = Predictor(theirs).probabilities(pixels)
        np.testing.assert_allclose(found, softmax(np.asarray(expected)), atol=1e-5)


def test_a_segformer(keras_hub):
    mit = make_mit(keras_hub)
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=mit, projection_filters=16)
    converter = keras_hub.layers.SegFormerImageConverter(
        image_size=(64, 64), scale=SCALE, offset=OFFSET
    )
    theirs = randomize(
        keras_hub.models.SegFormerImageSegmenter(
            backbone=backbone,
            num_classes=5,
            preprocessor=keras_hub.models.SegFormerImageSegmenterPreprocessor(converter),
        )
    )
    for size in ((64, 64), (128, 128)):
        pixels = image(*size)
        expected = theirs.predict(pixels[None].astype("float32"), verbose=0)
        expected = keras.ops.image.resize(expected, size, interpolation="bilinear")[0]
        found = Predictor(theirs).probabilities(pixels)
        np.testing.assert_allclose(found, softmax(np.asarray(expected)), atol=1e-5)
    assert Predictor(theirs).label_map(image(50, 90)).shape == (50, 90)


def test_the_segmenters_of_keras_cv(keras_cv):
    resnet = keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 64, 64, 64],
        stackwise_blocks=[2, 2, 2, 2],
        stackwise_strides=[1, 2, 2, 2],
        block_type="basic_block",
        include_rescaling=True,
    )
    mit = make_cv_mit(keras_cv, include_rescaling=True)
    for theirs in (
        keras_cv.models.DeepLabV3Plus(num_classes=4, backbone=resnet),
        keras_cv.models.SegFormer(num_classes=4, backbone=mit, projection_filters=16),
    ):
        randomize(theirs)
        pixels = image(64, 64)
        expected = theirs.predict(pixels[None].astype("float32"), verbose=0)[0]
        found = Predictor(theirs).probabilities(pixels)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert Predictor(theirs).label_map(image(50, 90)).shape == (50, 90)
