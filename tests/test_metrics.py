import re

import keras
import numpy as np
import pytest

from pdanet_tf.layers.batch_norm import BatchNorm
from pdanet_tf.losses import SegmentationCrossEntropy
from pdanet_tf.metrics import MeanIoU, PixelAccuracy, Scores
from pdanet_tf.optimizers import SGD
from tests.support.label_maps import plain_cross_entropy, random_batch


def twin_scores(labels, predictions, num_classes):
    """Counts intersections and unions class by class."""
    valid = labels != 255
    ious, present = [], []
    for index in range(num_classes):
        a, b = (labels == index) & valid, (predictions == index) & valid
        union = (a | b).sum()
        ious.append((a & b).sum() / (union + 1e-10))
        present.append(union > 0)
    accuracy = (labels == predictions)[valid].mean()
    return np.mean(ious), np.sum(ious) / np.sum(present), accuracy


def test_streaming_metrics_equal_a_count_of_all_pixels():
    metrics = (MeanIoU(6), MeanIoU(6, average="present", name="present"), PixelAccuracy(6))
    batches = [random_batch(num_classes=4, seed=seed) for seed in range(3)]
    for labels, logits in batches:
        # Classes 4 and 5 do not occur.
        logits = np.concatenate([logits, np.full((*logits.shape[:-1], 2), -9, "float32")], -1)
        for metric in metrics:
            metric.update_state(labels, logits)
    labels = np.concatenate([labels for labels, _ in batches])
    predictions = np.concatenate([logits.argmax(-1) for _, logits in batches])
    expected = twin_scores(labels, predictions, 6)
    np.testing.assert_allclose([m.result() for m in metrics], expected, rtol=1e-6)
    scores = metrics[0].scores()
    assert isinstance(scores, Scores)
    np.testing.assert_allclose(
        [scores.mean_iou, scores.mean_iou_present, scores.pixel_accuracy], expected, rtol=1e-12
    )
    assert scores.present.tolist() == [True] * 4 + [False] * 2
    metrics[0].reset_state()
    assert metrics[0].result() == 0


def test_metrics_take_predicted_classes_and_sample_weights():
    labels, logits = random_batch()
    by_class, by_logits = MeanIoU(4), MeanIoU(4)
    by_class.update_state(labels, logits.argmax(-1))
    by_logits.update_state(labels, logits)
    assert by_class.result() == by_logits.result()
    weight = np.ones(labels.shape)
    weight[:, 0] = 0
    weighted, masked = PixelAccuracy(4), PixelAccuracy(4)
    weighted.update_state(labels, logits, weight)
    masked.update_state(np.where(weight == 0, 255, labels), logits)
    assert weighted.result() == masked.result()


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 1), (5, 1, 1, 1)])
def test_a_weight_per_image(shape):
    # Batch size, height and width are equal: a weight along a wrong axis would raise no error.
    labels, logits = random_batch(batch=5, size=(5, 5))
    labels[0, :2], labels[3] = 255, 255
    weights = np.array([0, 1, 0.5, 3, 0]).reshape(shape)
    loss, pixels = SegmentationCrossEntropy(), (labels != 255).sum((1, 2))
    of_images = [plain_cross_entropy(labels[i : i + 1], logits[i : i + 1]) for i in (1, 2)]
    expected = (pixels[1] * of_images[0] + 0.5 * pixels[2] * of_images[1]) / pixels.sum()
    np.testing.assert_allclose(loss(labels, logits, weights), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(labels[..., None], logits, weights), expected, rtol=1e-5)
    by_logits, by_class, alone = PixelAccuracy(4), MeanIoU(4), MeanIoU(4)
    by_logits.update_state(labels, logits, weights)
    by_class.update_state(labels, logits.argmax(-1), weights)
    alone.update_state(labels[1:4], logits[1:4])
    np.testing.assert_array_equal(by_logits.matrix, alone.matrix)
    np.testing.assert_array_equal(by_class.matrix, alone.matrix)


@pytest.mark.parametrize(
    "shape", [(4,), (7,), (1,), (3, 5), (3, 1, 7), (5, 7), (1, 5, 7), (3, 7, 5)]
)
def test_weights_of_another_shape_are_refused(shape):
    labels, logits = random_batch()
    message = re.escape(f"sample_weight of shape {shape} with labels of shape (3, 5, 7)")
    with pytest.raises(ValueError, match=message):
        SegmentationCrossEntropy()(labels, logits, np.ones(shape))
    for predictions in (logits, logits.argmax(-1)):
        with pytest.raises(ValueError, match=message):
            MeanIoU(4).update_state(labels, predictions, np.ones(shape))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_and_evaluate_with_a_weight_per_image(jit_compile):
    labels, logits = random_batch(batch=4, size=(4, 4))
    images = keras.Input((4, 4, 4))
    names = ("logits", "aux_logits")
    identity = {"kernel_size": 1, "depthwise_initializer": "ones", "use_bias": False}
    heads = {name: keras.layers.DepthwiseConv2D(**identity, name=name)(images) for name in names}
    model = keras.Model(images, heads)
    loss = SegmentationCrossEntropy()
    model.compile(
        SGD(0.0),
        {"logits": loss, "aux_logits": SegmentationCrossEntropy()},
        weighted_metrics={"logits": [PixelAccuracy(4)]},
        jit_compile=jit_compile,
    )
    weights = np.array([0, 2, 0, 0], "float32")
    data = (logits, {"logits": labels, "aux_logits": labels})
    found = model.evaluate(*data, sample_weight=weights, verbose=0, return_dict=True)
    expected = float(loss(labels, logits, weights))
    assert found["loss"] == pytest.approx(2 * expected, rel=1e-5)
    right = (logits[1].argmax(-1) == labels[1])[labels[1] != 255].mean()
    assert found["logits_pixel_accuracy"] == pytest.approx(right, rel=1e-6)
    fitted = model.fit(*data, sample_weight=weights, verbose=0).history
    assert fitted["loss"][0] == pytest.approx(2 * expected, rel=1e-5)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_half_precision_as_the_default_changes_neither_labels_nor_counts(floatx):
    labels, logits = random_batch()
    labels = np.where(labels == 255, 65535, labels)
    expected = SegmentationCrossEntropy(ignore_label=65535)(labels, logits)
    keras.config.set_floatx(floatx)
    try:
        found = SegmentationCrossEntropy(ignore_label=65535)(labels, logits)
        metrics = MeanIoU(4), PixelAccuracy(4)
    finally:
        keras.config.set_floatx("float32")
    np.testing.assert_array_equal(found, expected)
    for metric, value in zip(metrics, (1 / 7, 1 / 4), strict=True):
        metric.matrix.assign(np.full((4, 4), 10**6))
        assert float(metric.result()) == pytest.approx(value, rel=1e-2)


def test_metrics_of_no_valid_pixel_are_zero():
    labels, logits = random_batch()
    for metric in (MeanIoU(4), MeanIoU(4, average="present"), PixelAccuracy(4)):
        metric.update_state(np.full_like(labels, 255), logits)
        assert metric.result() == 0


def test_counts_stay_exact_beyond_the_precision_of_float32():
    metric = PixelAccuracy(2)
    metric.matrix.assign([[2**24, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 1), "int32"), np.zeros((1, 1, 1), "int32"))
    assert metric.scores().pixels[0] == 2**24 + 1


def test_labels_that_are_not_a_class_make_metrics_nan():
    labels, logits = random_batch()
    labels[0, 0, 0] = 7
    for metric in (MeanIoU(4), MeanIoU(4, average="present"), PixelAccuracy(4)):
        metric.update_state(labels, logits)
        assert np.isnan(metric.result())
        with pytest.raises(ValueError, match=r"1 pixels .* num_classes=4"):
            metric.scores()
        metric.reset_state()
        assert metric.result() == 0


def test_loss_and_metrics_compile_with_xla():
    labels, logits = random_batch(batch=4)
    images = keras.Input((5, 7, 4))
    model = keras.Model(images, keras.layers.Conv2D(4, 1)(images))
    model.compile(SGD(0.01), SegmentationCrossEntropy(), metrics=[MeanIoU(4)], jit_compile=True)
    logs = model.fit(logits, labels, batch_size=2, epochs=1, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert 0 < logs["mean_iou"][0] < 1


def test_mean_accuracy_by_hand():
    # Class 0: 3 of 4 right; class 1: 1 of 2; class 2 does not occur.
    scores = Scores.from_confusion([[3, 1, 0], [0, 1, 1], [0, 0, 0]])
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores.pixel_accuracy == pytest.approx(4 / 6)
    assert scores.iou == pytest.approx([3 / 4, 1 / 3, 0])


def test_metrics_and_loss_under_a_strategy(two_replicas):
    labels, logits = random_batch(batch=4)
    with two_replicas.scope():
        metrics = [MeanIoU(4), PixelAccuracy(4)]
        images = keras.Input((None, None, 4))
        model = keras.Model(images, keras.layers.Activation("linear")(images))
        model.compile(loss=SegmentationCrossEntropy(), metrics=metrics)
    found = model.evaluate(logits, labels, batch_size=4, verbose=0, return_dict=True)
    alone = [MeanIoU(4), PixelAccuracy(4)]
    for metric in alone:
        metric.update_state(labels, logits)
    assert found["mean_iou"] == pytest.approx(float(alone[0].result()), rel=1e-6)
    assert found["pixel_accuracy"] == pytest.approx(float(alone[1].result()), rel=1e-6)
    assert found["loss"] == pytest.approx(plain_cross_entropy(labels, logits), rel=1e-5)


def test_a_replica_without_an_image_changes_nothing(two_replicas):
    # With five images in batches of four, the last batch has an image for one replica only.
    labels, logits = random_batch(batch=5)
    labels[2:4] = 255  # and the second replica's first batch has no valid pixel
    with two_replicas.scope():
        images = keras.Input((None, None, 4))
        model = keras.Model(images, BatchNorm()(images))
        model.compile(SGD(0.0), SegmentationCrossEntropy(), metrics=[MeanIoU(4)])
    before = model.evaluate(logits, labels, batch_size=4, verbose=0, return_dict=True)
    outputs = model(logits)
    parts = [plain_cross_entropy(labels[i], outputs[i]) for i in (slice(0, 2), slice(4, 5))]
    # The mean over the images of the means over the labelled pixels of each batch.
    assert before["loss"] == pytest.approx((4 * parts[0] + parts[1]) / 5, rel=1e-5)
    alone = MeanIoU(4)
    alone.update_state(labels, outputs)
    assert before["mean_iou"] == pytest.approx(float(alone.result()), rel=1e-6)
    fitted = model.fit(logits, labels, batch_size=4, shuffle=False, verbose=0).history
    assert np.isfinite(fitted["loss"]).all()
    # Each replica has its own moving averages, and the second had no image in the last step.
    after = model.evaluate(logits, labels, batch_size=4, verbose=0, return_dict=True)
    assert np.isfinite(after["loss"])
    for variable in model.non_trainable_variables:
        for copy in two_replicas.experimental_local_results(variable.value):
            assert np.isfinite(copy).all(), variable.path


@pytest.mark.parametrize(
    "thing",
    [
        SegmentationCrossEntropy(ignore_label=3),
        MeanIoU(4, ignore_label=3, average="present", name="iou"),
        PixelAccuracy(4, ignore_label=3, name="accuracy"),
    ],
)
def test_serialisation(thing):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(thing))
    assert type(twin) is type(thing)
    assert twin.get_config() == thing.get_config()


def test_bad_arguments():
    with pytest.raises(ValueError, match="num_classes=0"):
        MeanIoU(0)
    with pytest.raises(ValueError, match="average='mean'"):
        MeanIoU(3, average="mean")
