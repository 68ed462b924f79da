"""The loss of a run: by name, with class weights, at the size of the labels."""

import csv
import shutil

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.data import SyntheticDataset
from pdanet_tf.losses import Dice, SegmentationCrossEntropy, WeightedSum
from pdanet_tf.models import inspection
from pdanet_tf.optimizers import SGD
from pdanet_tf.training.batches import make_batches
from pdanet_tf.training.config import TrainConfig
from pdanet_tf.training.model import compiled_model
from pdanet_tf.training.objective import make_losses, make_metrics, resolve_class_weights

SMALL = {"model": "fcn_resnet18", "crop_size": (32, 48), "batch_size": 2, "scale_range": (1, 1)}


def small_config(tmp_path, **options):
    return TrainConfig(output_dir=str(tmp_path / "run"), **{**SMALL, **options})


def test_the_default_is_the_cross_entropy_of_before(tmp_path):
    dataset = SyntheticDataset("train")
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 1)])
    loss, weights = make_losses(small_config(tmp_path), dataset, model, None)
    assert loss.get_config() == SegmentationCrossEntropy(255).get_config()
    assert weights is None


def test_options_reach_the_losses_of_both_heads(tmp_path):
    config = small_config(
        tmp_path,
        loss="0.7*ce+0.3*dice",
        class_weights=[*range(1, 9)],
        label_smoothing=0.1,
        loss_size="labels",
        aux_head=True,
        stem="7x7",
        output_stride=16,
    )
    model = compiled_model(config, SyntheticDataset("train"), 1, tuple(range(1, 9)))
    grids = inspection.output_placements(model)
    assert grids.keys() == {"logits", "aux_logits"}
    for name, loss in model.loss.items():
        assert isinstance(loss, WeightedSum)
        ce, dice = loss.losses
        assert isinstance(dice, Dice)
        assert ce.label_smoothing == 0.1
        for each in (ce, dice):
            assert each.grid == grids[name]
            assert each.class_weights == tuple(range(1, 9))


def test_labels_have_the_size_that_the_loss_needs(tmp_path):
    dataset = SyntheticDataset("train")
    model = pdanet_tf.build_model("fcn_resnet18", 8, upsample=False)
    shapes = {}
    for size in ("logits", "labels"):
        config = small_config(tmp_path, loss_size=size, crop_size=(40, 56)).resolved()
        batches = make_batches(config, dataset, model, 0)
        shapes[size] = next(iter(batches))[1].numpy()
    assert shapes["logits"].shape == (2, 5, 7)
    assert shapes["labels"].shape == (2, 40, 56)
    # The reference takes the label in the middle of a cell.
    np.testing.assert_array_equal(shapes["labels"][:, 4::8, 4::8], shapes["logits"])


def test_the_loss_at_the_labels_is_that_of_the_model_for_inference(tmp_path):
    """The placement of logits in the loss is that of a model that upsamples its logits."""
    dataset = SyntheticDataset("train")
    for options in ({}, {"output_stride": 16, "stem": "7x7"}):
        model = pdanet_tf.build_model("fcn_resnet18", 8, upsample=False, **options)
        whole = pdanet_tf.build_model("fcn_resnet18", 8, **options)
        whole.set_weights(model.get_weights())
        config = small_config(tmp_path, loss_size="labels")
        loss, _ = make_losses(config, dataset, model, None)
        images = np.random.default_rng(0).uniform(0, 255, (1, 45, 61, 3)).astype("float32")
        labels = np.random.default_rng(1).integers(0, 8, (1, 45, 61))
        expected = SegmentationCrossEntropy()(labels, whole(images))
        assert float(loss(labels, model(images))) == pytest.approx(float(expected), rel=1e-5)
        for metric in make_metrics(config, dataset, model):
            found = float(metric(labels, model(images)))
            metric.reset_state()
            assert found == pytest.approx(float(type(metric)(8)(labels, whole(images))), abs=1e-4)


def folder_options(tmp_path):
    """Writes a data set of two classes, and returns options for one of three."""
    for split in ("train", "validation"):
        for index in range(2):
            for kind, array in (
                ("images", np.full((40, 56, 3), 100 * index, "uint8")),
                ("annotations", np.arange(40 * 56, dtype="uint8").reshape(40, 56) % 2),
            ):
                path = tmp_path / "data" / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                keras.utils.save_img(path, np.atleast_3d(array), scale=False)
    return {
        "dataset": "folder",
        "data_dir": str(tmp_path / "data"),
        "class_names": ("sky", "road", "pole"),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": [1, 2]}, "per class of the data set, 3. Received: 2 numbers"),
        ({"class_weights": [0, 0, 0]}, "class_weights must not all be 0"),
        ({"class_weights": "balanced"}, "Without a pixel: 'pole'"),
        ({"class_weights": "median-frequency"}, "Without a pixel: 'pole'"),
        ({"loss": "focal(gamma=-1)"}, "gamma must be at least 0"),
        ({"loss": "dice", "label_smoothing": 0.1}, "label_smoothing requires the loss 'ce'"),
    ],
)
def test_what_does_not_fit_stops_training_before_it_writes(options, message, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    config = small_config(tmp_path, **folder_options(tmp_path), **options)
    with pytest.raises(ValueError, match=message):
        pdanet_tf.train(config, verbose=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options", [{"loss": "focal(gamma=-1)"}, {"loss": "dice", "label_smoothing": 0.1}]
)
def test_a_loss_that_does_not_exist_is_found_before_the_data_are_read(options, tmp_path):
    data = folder_options(tmp_path)
    (tmp_path / "data" / "images" / "train" / "0.png").write_bytes(b"not an image")
    config = small_config(tmp_path, **data, **options)
    with pytest.raises(ValueError, match=r"gamma|label_smoothing"):
        pdanet_tf.train(config, verbose=0)


def losses_of(run):
    with open(run / "history.csv") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_loaded_model_trains_on_with_the_same_loss(tmp_path):
    """The checkpoint of a run holds the loss, with its class weights and placement."""
    config = small_config(tmp_path, loss="ce+0.5*dice", class_weights="log", loss_size="labels")
    dataset = SyntheticDataset("validation", (24, 32))
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 8, 8, "same")])
    weights = resolve_class_weights(config, dataset)
    model.compile(SGD(0.1, 0.9), make_losses(config, dataset, model, weights)[0])
    images, labels = (
        np.stack(each).astype("float32") for each in zip(*map(dataset.read, range(2)), strict=True)
    )
    model.train_on_batch(images / 255, labels)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.losses[0].class_weights == weights
    assert min(weights) < max(weights)
    for each in (model, loaded):
        before = each.get_weights()[0]
        for _ in range(2):
            each.train_on_batch(images / 255, labels)
        assert np.abs(each.get_weights()[0] - before).max() > 1e-3
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow  # `test_a_loaded_model_trains_on_with_the_same_loss` is quicker
def test_a_weighted_run_at_the_size_of_the_labels_resumes_to_the_same_numbers(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    options = {
        **SMALL,
        **folder_options(tmp_path),
        "loss": "ce+0.5*dice",
        "class_weights": "log",
        "loss_size": "labels",
        "epochs": 2,
        "learning_rate": 0.1,
    }

    class Copy(keras.callbacks.Callback):
        """Keeps the folder of the run as it is after the first epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                shutil.copytree(tmp_path / "whole", tmp_path / "part")

    config = TrainConfig(output_dir=str(tmp_path / "whole"), **options)
    weights = pytest.approx((*[1 / np.log(1.52)] * 2, 1 / np.log(1.02)))
    result = pdanet_tf.train(config, verbose=0, callbacks=[Copy()])
    assert result.summary["class_weights"] == weights
    loss = keras.saving.load_model(tmp_path / "part" / "last.keras").loss
    assert loss.losses[0].class_weights == weights
    resumed = pdanet_tf.training.resume(tmp_path / "part", verbose=0)
    assert resumed.summary["class_weights"] == weights
    assert losses_of(tmp_path / "part") == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-4)
