"""Weights of models with other classes or another head: what fits is loaded, the rest is named."""

import dataclasses
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.fitting import StoredWeights, load_stored
from pdanet_tf.weights.h5 import read_weights_h5
from tests.support import golden_models as golden
from tests.support import tiny_family
from tests.support.models import blank

ENDINGS = (".keras", ".weights.h5")


@pytest.fixture(autouse=True)
def _families(restored_registry):
    tiny_family.register()


def tiny(name="tiny_small", salt=0, **options):
    """Builds a small model with random values in all variables."""
    model = pdanet_tf.build_model(name, **{"num_classes": 5, **options})
    rng = np.random.default_rng(salt)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(params=ENDINGS)
def store(request, tmp_path):
    def save(model):
        path = tmp_path / f"{model.name}{request.param}"
        model.save(path) if request.param == ".keras" else model.save_weights(path)
        return path

    return save


def changed(model, source, path):
    """Loads a file, and returns which variables have the file's values; others must not change."""
    before = {weight.path: weight.numpy() for weight in model.weights}
    stored = {weight.path: weight.numpy() for weight in source.weights}
    loaded = load_weights(model, path, strict=False)
    found = set()
    for weight in model.weights:
        if np.array_equal(weight, stored.get(weight.path)):
            found.add(weight.path)
        else:
            np.testing.assert_array_equal(weight, before[weight.path])
    return loaded, found


def test_other_classes(store):
    source, model = tiny(), tiny(num_classes=2, salt=1)
    path = store(source)
    loaded, found = changed(model, source, path)
    assert found == {w.path for w in model.weights if not w.path.startswith("classifier")}
    assert (loaded.kept, loaded.classes, loaded.loaded) == (("classifier",), (5, 2), ("head_conv",))
    assert loaded.describe() == (
        f"loaded from {path} (tiny_small, 5 classes), except classifier, which keeps its initial "
        "values (2 classes)"
    )


def test_another_head_on_the_same_backbone(store):
    source, model = tiny(), tiny("other_small", num_classes=2, salt=1)
    path = store(source)
    loaded, found = changed(model, source, path)
    assert found == {weight.path for weight in model.get_layer("small").weights}
    assert loaded.describe() == (
        f"only the backbone small loaded from {path} (tiny_small); reduction and classifier keep "
        "their initial values; head_conv of the file not used"
    )


def test_a_convolution_and_its_batch_norm_are_loaded_together():
    """The batch norm would fit, but its statistics belong to another kernel."""
    source, model = StoredWeights.from_model(tiny(), "a file"), tiny(salt=1)
    arrays = {**source.arrays, "head_conv/conv/kernel": np.ones((1, 1, 12, 8))}
    before = model.get_layer("head_conv").get_weights()
    loaded = load_stored(model, dataclasses.replace(source, arrays=arrays), strict=False)
    assert loaded.kept == ("head_conv",)
    for old, new in zip(before, model.get_layer("head_conv").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_everything_fits(store):
    source, model = tiny(aux_head=False), tiny(salt=1)
    path = store(source)
    loaded, found = changed(model, source, path)
    assert len(found) == len(model.weights)
    assert loaded.describe() == f"all loaded from {path} (tiny_small)"
    assert load_weights(model, path).kept == ()


def test_heads_of_this_package(tmp_path):
    """PSPNet and PDANet share the fusion."""
    path = tmp_path / "pspnet.weights.h5"
    blank("pspnet_resnet18").save_weights(path)
    loaded = load_weights(blank("pdanet_resnet18", num_classes=2), path, strict=False)
    assert loaded.describe() == (
        f"the backbone resnet18 and fusion loaded from {path} (pspnet_resnet18, 5 classes); "
        "pyramid and classifier keep their initial values (2 classes)"
    )
    fewer = blank("pspnet_resnet18", pool_scales=(1, 2, 3), aux_head=True)
    loaded = load_weights(fewer, path, strict=False)
    assert loaded.kept == ("fusion", "aux_head")
    assert loaded.unused == ("pyramid/level_3",)


@pytest.mark.parametrize(
    ("stored", "model", "message"),
    [
        ("tiny_deeper", "tiny_small", "the backbone small, but the file also has block1_conv2/"),
        ("tiny_small", "tiny_deeper", "the backbone deeper, but the file lacks block1_conv2/"),
        (
            "segnet_basic",
            "tiny_small",
            "the backbone small, but block1_conv1/conv/kernel must have "
            r"the shape \(3, 3, 3, 4\), not \(7, 7, 3, 64\)",
        ),
    ],
)
def test_another_backbone_is_refused_in_one_sentence(stored, model, message, store):
    model, path = tiny(model), store(blank(stored))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model, path, strict=False)
    assert f"{path} holds {stored}, whose backbone does not fit" in str(caught.value)
    assert "nothing was loaded" in str(caught.value)
    assert "\n" not in str(caught.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_stem_or_normalization_is_refused(tmp_path):
    path = tmp_path / "deep.weights.h5"
    blank("fcn_resnet18").save_weights(path)
    with pytest.raises(ValueError, match=r"stem='deep'.*with stem='7x7'.*Build the model with"):
        load_weights(blank("fcn_resnet18", stem="7x7"), path, strict=False)
    tiny().save(tmp_path / "tiny.keras")
    with pytest.raises(ValueError, match="belong to normalization='torch'"):
        load_weights(tiny(normalization="caffe"), tmp_path / "tiny.keras", strict=False)


def test_weights_that_make_every_logit_nan_are_refused(store):
    source = tiny()
    source.get_layer("head_conv").conv.kernel.assign(np.full((3, 3, 12, 8), np.nan))
    model = tiny(num_classes=2)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"finite weights.*head_conv/conv/kernel"):
        load_weights(model, store(source), strict=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["danet_resnet18", "pdanet_resnet18", "segnet_basic"])
def test_a_file_of_weights_names_every_variable_as_the_model_does(name, tmp_path):
    model = blank(name, aux_head=name != "segnet_basic")
    for number, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, number))
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    read, expected = read_weights_h5(path, model), StoredWeights.from_model(model, str(path))
    assert read.model_name == expected.model_name
    assert read.backbone_paths == expected.backbone_paths
    assert read.arrays.keys() == expected.arrays.keys()
    for variable, array in read.arrays.items():
        np.testing.assert_array_equal(array, expected.arrays[variable], err_msg=variable)


def test_a_file_of_half_precision(tmp_path):
    source = tiny(dtype="bfloat16")
    path = tmp_path / "half.weights.h5"
    source.save_weights(path)
    model = tiny(num_classes=2)
    load_weights(model, path, strict=False)
    expected = source.get_layer("head_conv").conv.kernel
    np.testing.assert_array_equal(
        model.get_layer("head_conv").conv.kernel, keras.ops.cast(expected, "float32")
    )


def test_a_file_without_names_must_fit_completely(tmp_path):
    source, path = tiny(), tmp_path / "old.weights.h5"
    source.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, entry: entry.attrs.clear())
    model = tiny(salt=1)
    load_weights(model, path, strict=False)
    for old, new in zip(source.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match=r"does not name its layers.*use a \.keras file"):
        load_weights(tiny(num_classes=2), path, strict=False)


def test_the_state_of_an_optimizer_is_not_loaded(store):
    source = tiny()
    source.compile("adam", "mse")
    source.optimizer.build(source.trainable_variables)
    source.optimizer.iterations.assign(7)
    model = tiny(num_classes=2)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    assert load_weights(model, store(source), strict=False).kept == ("classifier",)
    assert int(model.optimizer.iterations) == 0


def test_a_file_that_an_earlier_version_wrote():
    path = Path(__file__).parent / "before_the_move.keras"
    source = keras.saving.load_model(path, compile=False)
    model = keras.models.clone_model(source)
    assert load_weights(model, path, strict=False).kept == ()
    for old, new in zip(source.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_converted_checkpoint_of_pytorch(tmp_path):
    shapes = golden.layout("fcn_deepsup")
    converted = blank("fcn_resnet18", num_classes=150, aux_head=True)
    pdanet_tf.convert.load_torch_state_dict(converted, *map(golden.draw, shapes.values()))
    converted.save_weights(tmp_path / "ade20k.weights.h5")
    model = blank("fcn_resnet18", num_classes=2)
    loaded, found = changed(model, converted, tmp_path / "ade20k.weights.h5")
    assert loaded.classes == (150, 2)
    assert {w.path for w in model.weights} - found == {"classifier/kernel", "classifier/bias"}
