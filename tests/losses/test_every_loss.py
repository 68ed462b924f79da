"""What all losses have in common."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.losses import OHEM, Dice, Focal, SegmentationCrossEntropy, WeightedSum, make_loss
from pdanet_tf.losses.names import LOSSES
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.portable import plain_operations
from pdanet_tf.ops.resize import bilinear_resize
from pdanet_tf.optimizers import SGD
from tests.support.label_maps import random_batch

NAMES = (*LOSSES, "ce+2*dice", "ohem(threshold=0.7)")


def value_and_gradient(loss, labels, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits)
    return float(value), tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_no_valid_pixel(name):
    labels, logits = random_batch()
    for each in (logits, logits[:, ::2, ::3]):
        value, gradient = value_and_gradient(make_loss(name), np.full_like(labels, 255), each)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_are_no_class_and_logits_that_are_no_number(name):
    labels, logits = random_batch()
    wrong = labels.copy()
    wrong[0, 0, 0] = 4
    assert np.isnan(make_loss(name)(wrong, logits))
    assert np.isfinite(make_loss(name, ignore_label=(255, 4))(wrong, logits))
    assert np.isnan(make_loss(name)(labels, np.full_like(logits, np.nan)))


@pytest.mark.parametrize("name", NAMES)
def test_several_ignored_labels_equal_one(name):
    labels, logits = random_batch()
    found = make_loss(name, ignore_label=(1, 255))(labels, logits)
    expected = make_loss(name)(np.where(labels == 1, 255, labels), logits)
    assert float(found) == float(expected) > 0


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32(name):
    labels, logits = random_batch()
    rounded = tf.cast(logits, "bfloat16")
    found = make_loss(name)(labels, rounded)
    assert found.dtype == "float32"
    assert float(found) == float(make_loss(name)(labels, tf.cast(rounded, "float32")))


@pytest.mark.parametrize("grid", [None, CellGrid(8, 0.0), CellGrid(4, 1.5)])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_placed_as_inference_does(name, grid):
    labels, _ = random_batch(batch=2, size=(20, 29))
    logits = random_batch(batch=2, size=(3, 4))[1].astype("float64")
    placement = {} if grid is None else {"stride": grid.stride, "first": grid.first}
    loss, plain = make_loss(name, **placement), make_loss(name)
    for each in (loss, plain):
        for part in getattr(each, "losses", [each]):
            part.class_weights = (0.5, 1.0, 2.0, 4.0)
    resized = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(resized)
        expected = plain(labels, bilinear_resize(resized, (20, 29), grid))
    gradient = tape.gradient(expected, resized)
    with plain_operations():
        at_once = value_and_gradient(loss, labels, logits)
    for found in (value_and_gradient(loss, labels, logits), at_once):
        assert found[0] == pytest.approx(float(expected), rel=1e-6)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("jit_compile", "names"), [(False, NAMES), (True, ("ce", "ohem", "dice", "lovasz"))]
)
def test_all_losses_in_one_fit(jit_compile, names):
    labels, logits = random_batch(batch=4, size=(8, 12))
    images = keras.Input((4, 6, 4))
    heads = {
        f"head{index}": keras.layers.Dense(4, name=f"head{index}")(images)
        for index in range(len(names))
    }
    model = keras.Model(images, heads)
    losses = {head: make_loss(name) for head, name in zip(heads, names, strict=True)}
    model.compile(SGD(0.0), losses, jit_compile=jit_compile)
    data = logits[:, ::2, ::2], dict.fromkeys(heads, labels)
    history = model.fit(*data, batch_size=4, epochs=1, verbose=0).history
    outputs = model(data[0])
    for head, loss in losses.items():
        expected = float(loss(labels, outputs[head]))
        assert history[f"{head}_loss"][0] == pytest.approx(expected, rel=1e-5), loss.name


@pytest.mark.parametrize("name", NAMES)
def test_serialisation(name):
    loss = make_loss(name, ignore_label=(7, 9), class_weights=[1, 2, 0, 1], stride=4, first=0.5)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    labels, logits = random_batch()
    labels = np.where(labels == 255, 7, labels)
    assert twin.get_config() == loss.get_config()
    assert float(twin(labels, logits)) == float(loss(labels, logits))


def test_class_weights_for_another_number_of_classes():
    labels, logits = random_batch()
    for name in LOSSES:
        message = "one weight per class, 4. Received: 3 weights"
        with pytest.raises(ValueError, match=re.escape(message)):
            make_loss(name, class_weights=[1, 2, 3])(labels, logits)


def test_sample_weight():
    labels, logits = random_batch()
    weights = np.array([0.0, 2.0, 1.0])
    for name in ("ohem", "dice", "jaccard", "tversky", "lovasz", "ce+dice"):
        with pytest.raises(ValueError, match="supports no sample_weight"):
            make_loss(name)(labels, logits, weights)
    for name in ("ce", "focal", "ce+focal"):
        loss = make_loss(name)
        pixels = (labels != 255).sum((1, 2))
        each = [float(loss(labels[i : i + 1], logits[i : i + 1])) for i in range(3)]
        expected = (weights * pixels * each).sum() / pixels.sum()
        assert float(loss(labels, logits, weights)) == pytest.approx(expected, rel=1e-6)


def test_weighted_sum():
    labels, logits = random_batch()
    ce, dice = SegmentationCrossEntropy(), Dice()
    found = WeightedSum([ce, dice], [0.7, 0.3])(labels, logits)
    expected = 0.7 * float(ce(labels, logits)) + 0.3 * float(dice(labels, logits))
    assert float(found) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="Received: MeanSquaredError"):
        WeightedSum([keras.losses.MeanSquaredError()])
    with pytest.raises(ValueError, match=r"one factor per loss, 2\. Received: 1 factor"):
        WeightedSum([ce, dice], [1])


def test_ohem_by_hand():
    # Probabilities of the labels: 0.5, 0.9, 0.2 and 0.6; the last pixel is unlabelled.
    shares = np.array([0.5, 0.9, 0.2, 0.6, 0.1])
    logits = np.log(np.stack([shares, 1 - shares], -1))[None, None]
    labels = np.array([[[0, 0, 0, 0, 255]]])
    for arguments, kept in (
        ({"fraction": 0.5}, [0.2, 0.5]),
        ({"fraction": 0.01}, [0.2]),
        ({"threshold": 0.55}, [0.2, 0.5]),
        ({"threshold": 0.3, "fraction": 0.75}, [0.2, 0.5, 0.6]),
        ({}, [0.2]),
    ):
        found = OHEM(**arguments)(labels, logits)
        assert float(found) == pytest.approx(-np.log(kept).mean(), rel=1e-6)
    assert float(OHEM(threshold=0.1)(labels, logits)) == 0


def test_focal_of_gamma_zero_is_cross_entropy():
    labels, logits = random_batch()
    weights = (1, 2, 3, 4)
    expected = SegmentationCrossEntropy(class_weights=weights)(labels, logits)
    assert float(Focal(gamma=0, class_weights=weights)(labels, logits)) == float(expected)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ce", {"label_smoothing": 1.5}, "label_smoothing must be from 0 to 1"),
        ("ce", {"class_weights": [1, -1]}, "class_weights must be numbers of at least 0"),
        ("ce", {"stride": 0}, "stride must be at least 1"),
        ("ce", {"ignore_label": "x"}, "ignore_label must be"),
        ("focal", {"gamma": -1}, "gamma must be at least 0"),
        ("ohem", {"fraction": 0}, "fraction must be above 0 and at most 1"),
        ("ohem", {"threshold": 1.5}, "threshold must be above 0 and at most 1"),
        ("tversky", {"alpha": -1}, "alpha must be at least 0"),
        ("dice", {"smooth": -1}, "smooth must be at least 0"),
        ("dice", {"average": "mean"}, "average must be one of present, all"),
        ("lovasz", {"average": "mean"}, "average must be one of present, all"),
    ],
)
def test_bad_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](**arguments)
