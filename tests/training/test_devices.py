"""Two devices take the steps of one."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf import TrainConfig, load_dataset, train
from pdanet_tf.data.batches.pipeline import crop_batches
from pdanet_tf.layers import BatchNorm
from pdanet_tf.training.cluster import Cluster
from pdanet_tf.training.devices import lost_processes_named


def run(root, folder, **options):
    """Trains ten steps, and returns the final model, the rows of the history and the result."""
    config = TrainConfig(
        **{
            "output_dir": str(folder),
            "dataset": "folder",
            "data_dir": str(root),
            "num_classes": 3,
            "epochs": 2,
            "steps_per_epoch": 5,
            "crop_size": (32, 40),
            "dropout": 0.0,
            # At higher rates, rounding changes the sign of an activation some steps later.
            "learning_rate": 1e-5,
            "keep_checkpoints": 3,
            **options,
        }
    )
    result = train(config, verbose=0)
    with open(folder / "history.csv", newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return keras.saving.load_model(folder / "last.keras"), rows, result


def flat(weights):
    """Returns weights as one vector."""
    return np.concatenate([np.ravel(weight) for weight in weights])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options", "tolerance", "of_the_way"),
    [
        # The 1 x 1 level normalises four nearly equal values, which magnifies rounding.
        ("pspnet_resnet18_quarter", {"batch_size": 4, "aux_head": True}, 1e-4, 0.05),
        ("fcn_resnet18_quarter", {"batch_size": 4, "accumulation_steps": 2}, 1e-5, 0.01),
        # The devices have two images and one, then three and two.
        ("fcn_resnet18_quarter", {"batch_size": 3}, 1e-5, 0.01),
        ("fcn_resnet18_quarter", {"batch_size": 5, "accumulation_steps": 2}, 1e-5, 0.01),
    ],
)
def test_two_devices_train_as_one(
    model, options, tolerance, of_the_way, make_folder, tmp_path, two_replicas
):
    root = make_folder(count=6)
    alone, rows, _ = run(root, tmp_path / "one", model=model, **options)
    with two_replicas.scope():
        both, both_rows, result = run(root, tmp_path / "two", model=model, **options)
    assert len(result.summary["devices"]) == 2
    assert np.linalg.norm(flat(alone.get_weights()) - flat(both.get_weights())) <= (
        tolerance * np.linalg.norm(flat(alone.get_weights()))
    )
    # They are also close in proportion to the way that they have gone.
    initial = keras.saving.load_model(tmp_path / "one" / "last-2.keras")
    way = flat(alone.trainable_weights) - flat(initial.trainable_weights)
    other_way = flat(both.trainable_weights) - flat(initial.trainable_weights)
    assert 0 < np.linalg.norm(way - other_way) <= of_the_way * np.linalg.norm(way)
    for one, two in zip(rows, both_rows, strict=True):
        for name, value in one.items():
            # In validation, pixels between two classes change with the last digit.
            close = {"abs": 0.01} if name.startswith("val_") else {"rel": 1e-4}
            assert value == pytest.approx(two[name], **close), name
        exact = [name for name in one if name.endswith(("mean_iou", "accuracy"))]
        exact = [name for name in exact if not name.startswith("val_")]
        assert {"mean_iou", "pixel_accuracy"} <= {name.removeprefix("logits_") for name in exact}
        assert [one[name] for name in exact] == [two[name] for name in exact]


def test_fewer_images_than_devices_are_refused(make_folder, tmp_path, two_replicas):
    with (
        two_replicas.scope(),
        pytest.raises(ValueError, match=r"at least the number of devices, 2\. Received: batch_s"),
    ):
        run(make_folder(), tmp_path / "run", model="fcn_resnet18_quarter", batch_size=1)


def test_shares_of_a_batch_are_the_whole_batch(make_folder):
    dataset = load_dataset("folder", "train", make_folder(count=7), num_classes=3)

    def first(share):
        return next(crop_batches(dataset, 5, (8, 8), share=share).as_numpy_iterator())

    shares = [first((index, 3)) for index in range(3)]
    assert [len(images) for images, _ in shares] == [2, 2, 1]
    for whole, parts in zip(first((0, 1)), zip(*shares, strict=True), strict=True):
        np.testing.assert_array_equal(whole, np.concatenate(parts))
    with pytest.raises(ValueError, match=r"at least the number of shares, 6\. Received"):
        first((0, 6))


def test_keras_still_fails_if_devices_have_different_numbers_of_images(two_replicas):
    """If this test fails, `TensorFlowEngine.feed` may be simplified."""
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("sgd", "mse", jit_compile=False)
    x = np.ones((3, 4), "float32")
    parts = tf.data.Dataset.from_tensor_slices((x, x[:, :3])).batch(2).repeat()
    data = two_replicas.distribute_datasets_from_function(lambda _: parts)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[2,4\].*\[1,4\]|same shape"):
        model.fit(data, epochs=1, steps_per_epoch=1, verbose=0, shuffle=False)


def test_batch_norm_takes_the_moments_of_all_devices(two_replicas):
    """One device has three of five images, far from those of the other."""
    rng = np.random.default_rng(0)
    images = rng.normal(3, 2, (5, 4, 4, 2)).astype("float32")
    images[3:] += 10
    with two_replicas.scope():
        layer = BatchNorm()
        layer.build(images.shape)
    parts = two_replicas.experimental_distribute_values_from_function(
        lambda context: images[:3] if context.replica_id_in_sync_group == 0 else images[3:]
    )
    found = two_replicas.run(lambda part: layer(part, training=True), args=(parts,))
    found = np.concatenate(two_replicas.experimental_local_results(found))
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    np.testing.assert_allclose(found, (images - mean) / np.sqrt(variance + 1e-5), atol=1e-5)
    for copy in two_replicas.experimental_local_results(layer.moving_variance.value):
        np.testing.assert_allclose(copy, 0.9 + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("remote target /job:worker/replica:0/task:1", " at b:2"),
        (
            "Error reported from /job:worker/task:0: lost are /job:worker/replica:0/task:1",
            " at b:2",
        ),
        ("", ""),
    ],
)
def test_a_process_that_is_lost_is_named(target, place):
    """The text is that of TensorFlow 2.21 for an address that nobody listens at."""
    text = f"Collective ops is aborted by: failed to connect to all addresses. From {target}"
    with (
        pytest.raises(ConnectionError, match=f"The worker{place} cannot be reached, or has ended"),
        lost_processes_named(Cluster(("a:1", "b:2"), 0)),
    ):
        raise tf.errors.UnavailableError(None, None, text)
