"""Private names of Keras and TensorFlow Datasets that the package uses: what each must do.

A private name may change in any release. `setup.cfg` therefore bounds the versions of both
packages; before a bound is raised, these tests say what breaks.
"""

import ast
import inspect
from pathlib import Path

import keras
import pytest
import tensorflow_datasets as tfds

import pdanet_tf
from pdanet_tf.optimizers import SGD, Adam

PACKAGE = Path(pdanet_tf.__file__).parent
# Private name: the modules that use it.
PRIVATE = {
    "_accumulated_gradients": {"optimizers/groups.py"},
    "_backend_apply_gradients": {"optimizers/groups.py"},
    "_clip_gradients": {"optimizers/groups.py"},
    "_download_and_prepare": {"data/sources/ade20k_tfds.py"},
    "_flatten_layers": {"backbones/stages.py", "models/transforms.py"},
    "_get_variable_index": {
        "optimizers/adam.py",
        "optimizers/groups.py",
        "optimizers/sgd.py",
    },
    "_iterations": {"optimizers/groups.py"},
    "_model_variables_moving_average": {"optimizers/groups.py"},
    "_momentums": {"optimizers/adam.py"},
    "_run_through_graph": {"backbones/stages.py"},
    "_trainable_variables": {"optimizers/groups.py"},
    "_velocities": {"optimizers/adam.py"},
}


def private_attributes(tree):
    """Yields the private attributes that a module reads of what it does not define itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            of_super = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            # These methods of named tuples, and `os._exit`, are public.
            if not node.attr.endswith("__") and node.attr not in ("_asdict", "_replace", "_exit"):
                yield node.attr, of_super


def own_names(tree):
    """Yields the names that a module defines: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_the_list_is_complete():
    trees = {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    own = {name for tree in trees.values() for name in own_names(tree)}
    found = {}
    for path, tree in trees.items():
        for name, of_super in private_attributes(tree):
            if of_super or name not in own:
                found.setdefault(name, set()).add(path)
    assert found == PRIVATE


@pytest.fixture(scope="module")
def nested():
    """A model with a model inside, and a layer inside that."""
    images = keras.Input((8, 8, 3))
    features = keras.Input((4, 4, 5))
    inner = keras.Model(features, keras.layers.ReLU(name="relu")(features), name="inner")
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same", name="conv")(images)
    return keras.Model(images, {"C1": x, "C2": inner(x)}, name="outer")


def test_keras_flatten_layers(nested):
    """Without it, batch norm in nested models is not folded, and rescaling is not refused."""
    names = [layer.name for layer in nested._flatten_layers(include_self=False)]
    assert {"conv", "inner", "relu"} <= set(names)
    assert "outer" not in names
    assert len(names) == len(set(names))


def test_keras_run_through_graph(nested):
    """Without it, the places of cells are unknown, and logits cannot be aligned with labels."""

    def follow(operation):
        return lambda value, *_, **__: f"{value}, {operation.name}"

    outputs = nested._run_through_graph(["image"], follow)
    assert outputs == {"C1": "image, conv", "C2": "image, conv, inner"}


def test_keras_get_variable_index():
    """Without it, `SGD` cannot tell which variables decay, nor find their velocities."""
    first, second = keras.Variable([1.0], name="kernel"), keras.Variable([2.0], name="bias")
    optimizer = SGD(0.1)
    optimizer.build([first, second])
    for index, variable in enumerate((first, second)):
        assert optimizer._get_variable_index(variable) == index
        # `update_step` is handed the backend's variables.
        assert optimizer._get_variable_index(variable.value) == index


def test_keras_state_of_optimizers():
    """Without it, nothing is clipped, accumulated or averaged, and Adam finds no moments."""
    variable = keras.Variable([3.0, 4.0], name="kernel")
    optimizer = Adam(0.1, global_clipnorm=1.0, gradient_accumulation_steps=2, use_ema=True)
    optimizer.build([variable])
    assert optimizer._trainable_variables == [variable]
    for name in (
        "_accumulated_gradients",
        "_model_variables_moving_average",
        "_momentums",
        "_velocities",
    ):
        (state,) = getattr(optimizer, name)
        assert any(state is each for each in optimizer.variables)
        assert state.shape == variable.shape
    clipped = optimizer._clip_gradients([keras.ops.convert_to_tensor([3.0, 4.0])])
    assert keras.ops.convert_to_numpy(clipped[0]) == pytest.approx([0.6, 0.8])
    for steps in range(1, 4):
        optimizer.apply([keras.ops.ones(2)])
        assert int(optimizer._iterations) == steps  # counts steps,
        assert int(optimizer.iterations) == steps // 2  # and this one updates


def test_keras_applies_gradients_by_a_method_that_ours_replaces(monkeypatch):
    """Without it, Keras' accumulation fails under a strategy, and each replica clips alone."""
    called = []
    monkeypatch.setattr(SGD, "_backend_apply_gradients", lambda *given: called.append(given))
    optimizer = SGD(0.1)
    optimizer.apply([keras.ops.ones(1)], [keras.Variable([1.0], name="kernel")])
    assert len(called) == 1


def test_tensorflow_datasets_download_and_prepare():
    """Without it, "ade20k" is prepared, but `as_data_source` cannot read it at random."""
    public = tfds.core.GeneratorBasedBuilder.download_and_prepare
    assert "self._download_and_prepare(" in inspect.getsource(public)
    private = inspect.signature(tfds.core.GeneratorBasedBuilder._download_and_prepare)
    assert list(private.parameters) == ["self", "dl_manager", "download_config"]
    own = inspect.signature(pdanet_tf.data.Ade20k._download_and_prepare)
    assert list(own.parameters) == list(private.parameters)
