"""Under a strategy, losses are those of the whole batch, over all replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.losses import make_loss
from pdanet_tf.optimizers import SGD
from tests.support.label_maps import random_batch

# Name of an output, with the size of its labels, and its loss.
LOSSES = {
    "small0": "ce",
    "small1": "0.5*ohem(threshold=0.4)+jaccard",
    "large0": "focal",
    "large1": "tversky(alpha=0.3, beta=0.7)",
}
WEIGHTS = (0.5, 1.0, 4.0, 2.0)


def batch():
    """Labels of two sizes and images, with which the means of two replicas differ."""
    labels, _ = random_batch(batch=4, size=(12, 16))
    labels[0], labels[1, 3:] = 255, 255  # the first replica has few labelled pixels
    labels[labels == 3] = 1
    labels[2, :5] = 3  # a class that occurs on one replica only
    return labels, 2 * random_batch(batch=4, size=(6, 8), seed=1)[1]


def step(strategy, losses):
    """Returns the logs of a step of a model with a head for each loss, and its gradients."""
    labels, images = batch()
    with strategy.scope():
        inputs = keras.Input((None, None, 4))
        start = keras.initializers.Constant(np.eye(4))
        heads = {
            name: keras.layers.Dense(4, kernel_initializer=start, name=name)(inputs)
            for name in losses
        }
        model = keras.Model(inputs, heads)
        model.compile(
            SGD(1.0), {name: make_loss(text, 255, WEIGHTS) for name, text in losses.items()}
        )
    before = model.get_weights()
    targets = {name: labels[:, ::2, ::2] if "small" in name else labels for name in losses}
    logs = model.fit(images, targets, batch_size=4, shuffle=False, verbose=0).history
    changes = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    return {name: values[0] for name, values in logs.items()}, changes


def halves(text, size):
    """Returns the losses of both replicas by themselves."""
    labels, images = batch()
    loss = make_loss(text, 255, WEIGHTS)
    labels = labels[:, ::2, ::2] if size == "small" else labels
    return [float(loss(labels[i : i + 2], images[i : i + 2])) for i in (0, 2)]


def test_values_and_gradients_equal_those_of_one_replica(two_replicas):
    logs, gradients = step(two_replicas, LOSSES)
    one_logs, one_gradients = step(tf.distribute.get_strategy(), LOSSES)
    for name, text in LOSSES.items():
        value = logs[f"{name}_loss"]
        assert value == pytest.approx(one_logs[f"{name}_loss"], rel=1e-6), text
        # The mean of the replicas' own losses is another number.
        assert abs(np.mean(halves(text, name[:5])) / value - 1) > 1e-3, text
    for found, expected in zip(gradients, one_gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_lovasz_is_the_mean_over_the_replicas(two_replicas):
    logs, _ = step(two_replicas, {"large": "lovasz"})
    assert logs["loss"] == pytest.approx(np.mean(halves("lovasz", "large")), rel=1e-5)


def test_replicas_may_have_different_numbers_of_images(two_replicas):
    """One has three of four images: values and gradients are still those of the whole batch."""
    labels, images = batch()
    parts = [(labels[:3], images[:3]), (labels[3:], images[3:])]
    losses = {text: make_loss(text, 255, WEIGHTS) for text in LOSSES.values()}
    with two_replicas.scope():
        scale = tf.Variable([1.0, 0.5, 2.0, 1.0])

    def values_and_gradients(part):
        found = {}
        for text, loss in losses.items():
            with tf.GradientTape() as tape:
                value = loss(part[0], part[1] * scale)
            found[text] = value, tape.gradient(value, scale)
        return found

    shared = two_replicas.experimental_distribute_values_from_function(
        lambda context: tuple(map(tf.constant, parts[context.replica_id_in_sync_group]))
    )
    found = tf.function(lambda: two_replicas.run(values_and_gradients, args=(shared,)))()
    expected = values_and_gradients((labels, images))
    for text in losses:
        values, gradients = map(two_replicas.experimental_local_results, found[text])
        # Keras divides the values by the number of replicas, and weighs them with their images.
        value = (3 * 2 * values[0] + 2 * values[1]) / 4
        np.testing.assert_allclose(value, expected[text][0], rtol=1e-6)
        np.testing.assert_allclose(sum(gradients), expected[text][1], rtol=1e-4, atol=1e-6)
