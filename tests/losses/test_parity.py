"""Values and gradients equal those of torch and of segmentation_models.pytorch."""

from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf import losses
from tests.losses.references import (
    CASES,
    GOLDEN,
    SIZES,
    evaluate,
    inputs,
    references,
    smp_losses,
)

STORED = np.load(GOLDEN)


def compare(name, size, dtype, value, gradient, tolerance):
    """Compares with the value, and the gradient with the largest entry of the expected one."""
    kind, arguments = CASES[name]
    labels, logits = inputs(size, dtype)
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = getattr(losses, kind)(**arguments, dtype=dtype)(labels, logits)
    assert abs(float(found) - value) <= tolerance * max(1, abs(value))
    error = np.abs(tape.gradient(found, logits).numpy() - gradient).max()
    assert error <= tolerance * np.abs(gradient).max()


@pytest.mark.parametrize("name", CASES)
def test_stored_values(name):
    for size in SIZES:
        stored = STORED[f"{size}: {name}"], STORED[f"{size}: {name}: gradient"]
        compare(name, size, "float32", *stored, 1e-6)
        exact = 1e-5 if name == "smp lovasz" else 1e-12  # smp computes it in float32
        compare(name, size, "float64", *stored, exact)


def test_every_case_is_stored():
    names = {
        f"{size}: {name}{end}" for size in SIZES for name in CASES for end in ("", ": gradient")
    }
    assert set(STORED.files) == names


def test_live_values_of_torch(torch):
    check_live(None)


@pytest.mark.extra
def test_live_values_of_smp(torch):
    if find_spec("segmentation_models_pytorch") is None:
        pytest.skip("needs segmentation-models-pytorch")
    check_live(smp_losses())


def check_live(smp):
    """The packages that are installed still compute the stored values, and ours equal them."""
    for name, function in references(smp):
        for size in SIZES:
            value, gradient = evaluate(function, size)
            np.testing.assert_allclose(value, STORED[f"{size}: {name}"], rtol=1e-6)
            compare(name, size, "float32", value, gradient, 1e-6)
