"""Damaged and foreign files of weights either load correctly or raise a message of one line."""

import io
import zipfile

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.weights.files import load_keras_file, load_weights
from pdanet_tf.weights.torch import read_torch_file


def tiny_model(num_classes=2):
    images = keras.Input((None, None, 3))
    x = ConvBatchNorm(4, 3, name="conv")(images)
    model = keras.Model(images, keras.layers.Conv2D(num_classes, 1, name="classifier")(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.0, weight.shape))
    return model


def mutate(data, rng):
    """Changes, removes, inserts or zeroes a few bytes, or cuts the end off."""
    data, place, count = bytearray(data), int(rng.integers(len(data))), int(rng.integers(1, 17))
    kind = rng.integers(5)
    if kind == 0:
        for index in rng.integers(0, len(data), count):
            data[index] = rng.integers(256)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place] = rng.integers(0, 256, count).astype("uint8").tobytes()
    elif kind == 3:
        del data[place : place + count]
    else:
        data[place : place + count] = bytes(count)
    return bytes(data)


def mutate_inside(data, rng):
    """Mutates one member of an archive; its checksum matches the mutated content."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = names[rng.integers(len(names))]
        for name in names:
            content = old.read(name)
            new.writestr(name, mutate(content, rng) if name == chosen else content)
    return written.getvalue()


def check_mutations(count, source, change, load):
    """Loads mutations of a file, and returns those that could be loaded."""
    data, rng = source.read_bytes(), np.random.default_rng(0)
    loaded, messages = [], {}
    for index in range(count):
        path = source.with_name(f"mutation{index}.{source.name.partition('.')[2]}")
        path.write_bytes(change(data, rng))
        try:
            loaded.append(load(path))
        except (ValueError, OSError) as error:
            messages[path] = str(error)
    assert loaded
    assert messages
    for path, message in messages.items():
        assert str(path) in message
        assert "\n" not in message
    return loaded


MANY = pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])


@MANY
@pytest.mark.parametrize("change", [mutate, mutate_inside])
def test_mutated_keras_files(tmp_path, count, change):
    model = tiny_model()
    model.save(tmp_path / "tiny.keras")
    for loaded in check_mutations(count, tmp_path / "tiny.keras", change, load_keras_file):
        check_weights(loaded, model)


@MANY
def test_mutated_weights_files(tmp_path, count):
    model, other = tiny_model(), tiny_model()
    model.save_weights(tmp_path / "tiny.weights.h5")

    def load(path):
        for weight in other.weights:
            weight.assign(keras.ops.full_like(weight, -1))
        load_weights(other, path)
        check_weights(other, model)

    check_mutations(count, tmp_path / "tiny.weights.h5", mutate, load)


def check_weights(found, expected):
    """Checks that every weight came from the file: at most 16 bytes were changed."""
    for ours, theirs in zip(found.weights, expected.weights, strict=True):
        assert ours.shape == theirs.shape
        assert np.sum(ours.numpy() != theirs.numpy()) <= 16


@MANY
@pytest.mark.parametrize(
    ("new_format", "change"), [(True, mutate), (True, mutate_inside), (False, mutate)]
)
def test_mutated_files_of_PyTorch(torch, tmp_path, count, new_format, change):  # noqa: N802
    state = {
        "conv1.weight": torch.ones(2, 3, 3, 3),
        "bn1.running_var": torch.ones(2),
        "classifier.weight": torch.ones(2, 2).half(),
    }
    torch.save(state, tmp_path / "tiny.pth", _use_new_zipfile_serialization=new_format)
    for read in check_mutations(count, tmp_path / "tiny.pth", change, read_torch_file):
        assert all(np.all(np.isfinite(array)) for array in read.values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    model = pdanet_tf.build_model("segnet_basic", num_classes=2)
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.where(np.arange(kernel.shape[-1]) == 1, value, kernel.numpy()))
    model.save(tmp_path / "diverged.keras")
    model.save_weights(tmp_path / "diverged.weights.h5")
    with pytest.raises(ValueError, match=r"diverged\.keras: .*finite.* in classifier/kernel:"):
        load_keras_file(tmp_path / "diverged.keras")
    for name in ("diverged.keras", "diverged.weights.h5"):
        with pytest.raises(ValueError, match=rf"{name}: .*finite.* in classifier/kernel:"):
            pdanet_tf.build_model("segnet_basic", num_classes=2, weights=tmp_path / name)


def test_a_file_with_a_layer_of_the_users_says_what_to_import(tmp_path):
    @keras.saving.register_keras_serializable("users")
    class UsersLayer(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    images = keras.Input((8, 8, 3))
    keras.Model(images, UsersLayer()(images)).save(tmp_path / "own.keras")
    del keras.saving.get_custom_objects()["users>UsersLayer"]
    message = r"own\.keras: .*: Could not locate class 'UsersLayer'\. Import the module .*--import"
    with pytest.raises(ValueError, match=message):
        load_keras_file(tmp_path / "own.keras")


def test_foreign_files_in_the_format_of_keras(tmp_path):
    images = keras.Input((8, 8, 3))
    code = keras.Model(images, keras.layers.Lambda(lambda x: 2 * x)(images))
    code.save(tmp_path / "code.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with zipfile.ZipFile(tmp_path / "list.keras", "w") as archive:
        archive.writestr("config.json", "[1, 2]")
    for name, message in (
        ("code", "Python lambda.*disallowed"),
        ("empty", r"no item named 'config\.json'"),
        ("list", "cannot be loaded: list indices"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.keras: .*{message}") as caught:
            load_keras_file(tmp_path / f"{name}.keras")
        assert "\n" not in str(caught.value)
        assert "safe_mode" not in str(caught.value)


def test_a_file_that_lacks_layers_is_refused(tmp_path):
    """Keras leaves layers in nested containers at their random weights, with a warning."""

    class Nested(keras.layers.Layer):
        def __init__(self, nested):
            super().__init__()
            convs = [keras.layers.Conv2D(3, 1, name=f"conv{index}") for index in range(2)]
            self.branches = [convs] if nested else convs

        def call(self, inputs):
            for conv in self.branches[0] if isinstance(self.branches[0], list) else self.branches:
                inputs = conv(inputs)
            return inputs

    def build(nested):
        images = keras.Input((None, None, 3))
        return keras.Model(images, Nested(nested)(images))

    build(nested=False).save_weights(tmp_path / "flat.weights.h5")
    with pytest.raises(ValueError, match=r"flat\.weights\.h5 do not fit"):
        load_weights(build(nested=True), tmp_path / "flat.weights.h5")
