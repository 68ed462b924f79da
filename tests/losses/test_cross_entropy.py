import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.metrics import PixelAccuracy
from pdanet_tf.optimizers import SGD
from tests.support.label_maps import plain_cross_entropy, random_batch


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    labels, logits = random_batch()
    loss = SegmentationCrossEntropy()
    np.testing.assert_allclose(loss(labels, logits), plain_cross_entropy(labels, logits), rtol=1e-5)
    # Labels may have a channel axis and be uint8, as in files.
    np.testing.assert_allclose(
        loss(labels[..., None].astype("uint8"), logits), loss(labels, logits), rtol=1e-6
    )


def test_cross_entropy_resizes_logits_to_the_labels():
    labels, logits = random_batch(size=(16, 24))
    coarse = logits[:, ::8, ::8]
    full = tf.image.resize(coarse, (16, 24)).numpy()
    loss = SegmentationCrossEntropy()
    np.testing.assert_allclose(loss(labels, coarse), loss(labels, full), rtol=1e-5)


def test_cross_entropy_of_no_valid_pixel_is_zero_with_a_zero_gradient():
    labels, logits = random_batch()
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = SegmentationCrossEntropy()(np.full_like(labels, 255), logits)
    assert loss == 0
    assert not np.any(tape.gradient(loss, logits))


def test_a_label_that_is_not_a_class_makes_the_loss_nan():
    labels, logits = random_batch()
    for wrong in (4, -1):
        labels[0, 0, 0] = wrong
        assert np.isnan(SegmentationCrossEntropy()(labels, logits))
    labels[0, 0, 0] = 7
    assert np.isfinite(
        SegmentationCrossEntropy(ignore_label=7)(np.where(labels == 255, 7, labels), logits)
    )


def test_weights_per_pixel_and_one_for_all():
    labels, logits = random_batch()
    loss = SegmentationCrossEntropy()
    class_weights = np.array([0, 1, 2, 3, *[0] * 252], "float32")
    expected = sum(
        weight
        * plain_cross_entropy(np.where(labels == label, labels, 255), logits)
        * (labels == label).sum()
        / (labels != 255).sum()
        for label, weight in enumerate(class_weights[:4])
        if weight
    )
    weights = class_weights[labels]
    for each in (weights, weights[..., None]):
        np.testing.assert_allclose(loss(labels, logits, each), expected, rtol=1e-5)
    whole = loss(labels, logits)
    np.testing.assert_allclose(loss(labels, logits, 0.5), 0.5 * whole, rtol=1e-6)
    metric = PixelAccuracy(4)
    metric.update_state(labels, logits, 0)
    assert metric.scores().pixels.sum() == 0


def test_class_weights_of_fit_are_refused():
    # Keras would turn them into one weight per row, by the largest label of the row.
    labels, logits = random_batch(batch=2, size=(4, 4))
    images = keras.Input((None, None, 4))
    model = keras.Model(images, keras.layers.Activation("linear")(images))
    model.compile(SGD(0.0), SegmentationCrossEntropy())
    batches = tf.data.Dataset.from_tensors((logits, labels))
    with pytest.raises(ValueError, match="sample_weight must be"):
        model.fit(batches, class_weight=dict.fromkeys(range(4), 1.0), shuffle=False, verbose=0)
