"""Attention, effective receptive field and entropy of a network."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.inference import Predictor, explain
from pdanet_tf.inference.attention_maps import (
    attention_of_level,
    channel_weights,
    find_attention,
    position_weights,
)
from pdanet_tf.inference.explanation import normalized_entropy, receptive_field
from pdanet_tf.layers import ChannelAttention, PositionAttention
from pdanet_tf.models.inspection import logits_of


def filled(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def softmax(energy):
    weights = np.exp(energy - energy.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_position_weights_are_a_row_of_the_softmax():
    layer = PositionAttention(reduction=2)
    inputs = filled((1, 3, 5, 4))
    layer.build(inputs.shape)
    for index, weight in enumerate(layer.weights):
        weight.assign(filled(weight.shape, index))
    layer.gamma.assign(0.7)
    query, key, value = (
        inputs.reshape(15, 4) @ np.asarray(each.kernel).reshape(4, -1) + np.asarray(each.bias)
        for each in (layer.query, layer.key, layer.value)
    )
    every = softmax(query @ key.T)  # (queries, keys)
    rows = [
        position_weights(layer, inputs, (row, column)) for row in range(3) for column in range(5)
    ]
    np.testing.assert_allclose(np.reshape(rows, (15, 15)), every, atol=1e-6)
    # The layer itself sums the values with these weights.
    attended = np.reshape(rows, (15, 15)) @ value
    expected = 0.7 * attended.reshape(inputs.shape) + inputs
    np.testing.assert_allclose(np.asarray(layer(inputs)), expected, atol=1e-5)


@pytest.mark.parametrize("energy", ["dissimilar", "similar"])
def test_channel_weights_are_those_that_the_layer_applies(energy):
    layer = ChannelAttention(energy)
    inputs = 0.4 * filled((1, 3, 5, 4))
    layer.build(inputs.shape)
    layer.gamma.assign(1.0)
    weights = channel_weights(layer, inputs)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    expected = inputs.reshape(15, 4) @ weights.T + inputs.reshape(15, 4)
    np.testing.assert_allclose(np.asarray(layer(inputs)).reshape(15, 4), expected, atol=1e-5)


def test_entropy():
    probabilities = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], "float32")
    np.testing.assert_allclose(normalized_entropy(probabilities), [0, 1, 0.5], atol=1e-6)
    assert normalized_entropy(np.ones((2, 1), "float32")).tolist() == [0, 0]


def test_the_receptive_field_of_two_convolutions():
    """Of ones: the gradient is the kernel convolved with itself, a pyramid of 5 x 5 pixels."""
    images = keras.Input((None, None, 2))
    x = images
    for channels in (1, 3):
        x = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="ones")(x)
    model = keras.Model(images, x)
    found = receptive_field(model, filled((1, 11, 9, 2)), (5.5 / 11, 2.5 / 9), 1)
    side = np.array([1, 2, 3, 2, 1]) / 3
    expected = np.zeros((11, 9))
    expected[3:8, 0:5] = np.outer(side, side)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module")
def pdanet():
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model("pdanet_resnet18_quarter", num_classes=3)
    for weight in model.weights:
        if weight.name == "gamma" and len(weight.shape) == 0:
            weight.assign(0.5)
    return model


def test_the_levels_of_pdanet(pdanet, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3)).astype("uint8")
    predictor = Predictor(pdanet)
    explanation = explain(image, predictor, at=(39, 20))
    assert list(explanation.attention) == ["1", "2", "3", "6"]
    for name, level in explanation.attention.items():
        bins = int(name)
        assert level.position.shape == (bins, bins)
        assert level.position.sum() == pytest.approx(1)
        assert level.channel.shape == (32, 32)
        assert level.cell == (bins - 1, 20 * bins // 64)
        assert (level.position_gamma, level.channel_gamma) == (0.5, 0.5)
    np.testing.assert_array_equal(explanation.label_map, predictor.label_map(image))
    probabilities = predictor.probabilities(image)
    np.testing.assert_allclose(explanation.entropy, normalized_entropy(probabilities))
    assert explanation.receptive_field.shape == (40, 64)
    assert explanation.receptive_field.max() == 1
    # The input of the attention is what the network has there: applied to it, it gives the logits.
    layer = pdanet.get_layer("pyramid")
    assert find_attention(pdanet)["3"] == (layer, 2)
    inner = keras.Model(pdanet.input, layer.input)
    features = inner(image[None].astype("float32"))
    again = attention_of_level(features, layer, 2, (0.99, 20.5 / 64))
    np.testing.assert_allclose(again.position, explanation.attention["3"].position, atol=1e-6)
    explanation.save(tmp_path / "explained")
    with np.load(tmp_path / "explained" / "explanation.npz") as arrays:
        assert set(arrays) == {
            "label_map",
            "entropy",
            "receptive_field",
            *(f"{kind}_attention_{n}" for kind in ("position", "channel") for n in (1, 2, 3, 6)),
        }
        np.testing.assert_array_equal(
            arrays["position_attention_6"], explanation.attention["6"].position
        )
    for plot in ("entropy", "receptive_field", "position_attention", "channel_attention"):
        with Image.open(tmp_path / "explained" / f"{plot}.png") as opened:
            assert opened.width > 600
    with pytest.raises(FileExistsError, match="choose a new folder"):
        explanation.save(tmp_path / "explained")
    with pytest.raises(ValueError, match=r"row from 0 to 39 and a column from 0 to 63.*\(40, 0\)"):
        explain(image, predictor, at=(40, 0))


def test_models_without_pyramid_and_without_attention():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype("uint8")
    danet = pdanet_tf.build_model("danet_resnet18_quarter", num_classes=3)
    found = explain(image, danet)
    assert found.at == (16, 24)
    assert {name: level.position.shape for name, level in found.attention.items()} == {
        "whole": (4, 6)
    }
    assert found.missing == ()
    fcn = pdanet_tf.build_model("fcn_resnet18", num_classes=3, upsample=False)
    found = explain(image, fcn, at=(0, 0))
    assert found.attention == {}
    assert "no dual attention" in found.missing[0]
    assert found.receptive_field[:8, :8].max() > found.receptive_field[-8:, -8:].max()
    logits = np.asarray(logits_of(fcn(image[None].astype("float32"))))
    assert logits.shape[1:3] == (4, 6)


def test_the_command(pdanet, tmp_path, capsys):
    pdanet.save(tmp_path / "model.keras")
    image = tmp_path / "photo.png"
    Image.new("RGB", (48, 32), (90, 120, 30)).save(image)
    command = ["explain", str(image), "--model", str(tmp_path / "model.keras")]
    output = tmp_path / "explained"
    assert cli.main([*command, "--at", "40,2", "--output", str(output)]) == 1
    assert "row from 0 to 31" in capsys.readouterr().err
    assert not output.exists()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--at", "left"])
    assert "expected ROW,COLUMN" in capsys.readouterr().err
    assert cli.main([*command, "--at", "4,2", "--output", str(output)]) == 0
    assert "Level 6: gamma 0.5000 (positions), 0.5000 (channels)" in capsys.readouterr().out
    figures = json.loads((output / "explanation.json").read_text())
    assert figures["at"] == [4, 2]
    assert figures["levels"]["6"]["cell"] == [0, 0]
    assert cli.main([*command, "--output", str(output)]) == 1
    assert "already exists; choose a new folder" in capsys.readouterr().err
