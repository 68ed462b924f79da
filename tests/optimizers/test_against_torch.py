"""The steps of the optimizers are those of PyTorch's, with parameter groups."""

import json

import keras
import numpy as np
import pytest

from pdanet_tf.optimizers import SGD, Adam, AdamW, decays
from tests.support import torch_steps as reference

CASES = [(name, variant) for name in reference.OPTIMIZERS for variant in reference.VARIANTS]
CLASSES = {"sgd": SGD, "nesterov": SGD, "adam": Adam, "adamw": AdamW}


def make(name, variant):
    """Returns one of our optimizers for a case."""
    given = reference.VARIANTS[variant]
    rates = keras.optimizers.schedules.PolynomialDecay(
        reference.OPTIMIZERS[name]["learning_rate"], reference.STEPS, 0.0, power=0.9
    )
    return CLASSES[name](
        **{
            **reference.OPTIMIZERS[name],
            "learning_rate": rates,
            "rate_factors": {"stem": given["backbone"]} if "backbone" in given else None,
            "global_clipnorm": given.get("clip_norm"),
            "gradient_accumulation_steps": given.get("accumulation"),
            "use_ema": "ema" in given,
            "ema_momentum": given.get("ema", 0.99),
        }
    )


def make_variables():
    variables = []
    for path, value in reference.initial().items():
        layer, name = path.split("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(value, name=name))
    assert [variable.path for variable in variables] == list(reference.VARIABLES)
    return variables


def figures(name, variant):
    """Returns PyTorch's variables, and with a moving average those of the average."""
    return json.loads(reference.FIGURES.read_text())[f"{name}, {variant}"]


def run(optimizer, variables, steps=range(reference.STEPS)):
    for step in steps:
        optimizer.apply(
            [reference.gradient(v.path, step, keras.ops.convert_to_numpy(v)) for v in variables],
            variables,
        )


def assert_close(values, expected):
    """The smallest gradients make the difference of two placements of epsilon visible."""
    for path, value in zip(reference.VARIABLES, values, strict=True):
        error = np.abs(np.ravel(keras.ops.convert_to_numpy(value)) - expected[path]).max()
        assert error < 2e-6, (path, error)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_twenty_steps_are_those_of_pytorch(name, variant):
    optimizer, variables = make(name, variant), make_variables()
    run(optimizer, variables)
    expected = figures(name, variant)
    assert_close(variables, expected[0])
    count = reference.VARIANTS[variant].get("accumulation", 1)
    assert int(optimizer.iterations) == reference.STEPS // count
    pairs = optimizer.averages()
    if len(expected) == 1:
        assert pairs == []
    else:
        assert [variable for variable, _ in pairs] == variables
        assert_close([average for _, average in pairs], expected[1])


@pytest.mark.parametrize("accumulation", [None, 2])
def test_the_average_of_a_variable_without_a_gradient_is_the_variable(accumulation):
    """As that of `keras.optimizers.Optimizer`."""
    used, unused = (keras.Variable(value, name="kernel") for value in ([1.0], [3.0]))
    optimizer = SGD(
        0.5,
        momentum=0.0,
        weight_decay=0.0,
        use_ema=True,
        ema_momentum=0.9,
        gradient_accumulation_steps=accumulation,
    )
    optimizer.build([used, unused])
    for _ in range(2 * (accumulation or 1)):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply([keras.ops.ones(1), None], [used, unused])
    found = [float(average[0]) for _, average in optimizer.averages()]
    assert found == pytest.approx([0.9 * 0.5 + 0.1 * 0.0, 3.0])


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_the_stored_figures_are_pytorchs(name, variant, torch):
    expected = figures(name, variant)
    found = list(reference.torch_steps(name, variant))
    for ours, stored in zip(found, expected, strict=True):
        assert_close([ours[path] for path in reference.VARIABLES], stored)


def test_the_figures_use_the_decay_groups_of_the_package():
    decaying = [variable.path for variable in make_variables() if decays(variable)]
    assert tuple(decaying) == reference.DECAYING


@pytest.mark.parametrize("name", CLASSES)
def test_saving_and_loading_between_two_updates_of_an_accumulation(name):
    whole, variables = make(name, "all"), make_variables()
    run(whole, variables)
    first, others = make(name, "all"), make_variables()
    run(first, others, range(10))  # three updates and one step
    twin = type(first).from_config(json.loads(json.dumps(first.get_config())))
    copies = make_variables()
    for copy, other in zip(copies, others, strict=True):
        copy.assign(other)
    twin.build(copies)
    state = {}
    first.save_own_variables(state)
    twin.load_own_variables(state)
    run(twin, copies, range(10, reference.STEPS))
    for one, other in zip((*variables, *whole.variables), (*copies, *twin.variables), strict=True):
        np.testing.assert_array_equal(one, other)
