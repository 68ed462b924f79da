"""Two replicas take the steps of one, also where they clip, accumulate and average."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.training.optimization import averaged_weights
from tests.optimizers import test_against_torch as alone
from tests.support import torch_steps as reference


@pytest.mark.parametrize(
    ("name", "scaled"), [("sgd", False), ("sgd", True), ("adam", False), ("adamw", True)]
)
def test_replicas_step_as_pytorch(name, scaled, two_replicas):
    """Each replica has a part of the gradient, so that clipping each by its own norm is wrong."""
    with two_replicas.scope():
        optimizer, variables = alone.make(name, "all"), alone.make_variables()
        outer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
        outer.build(variables)
    scale = outer.initial_scale if scaled else 1.0

    @tf.function
    def apply(gradients):
        two_replicas.run(outer.apply, args=(gradients,))

    def divide(context, gradients):
        part = (0.25, 0.75)[context.replica_id_in_sync_group] * scale
        return [tf.constant(part * gradient) for gradient in gradients]

    for step in range(reference.STEPS):
        whole = [reference.gradient(v.path, step, v.numpy()) for v in variables]
        apply(
            two_replicas.experimental_distribute_values_from_function(
                functools.partial(divide, gradients=whole)
            )
        )
    expected = alone.figures(name, "all")
    alone.assert_close(variables, expected[0])
    alone.assert_close([average for _, average in optimizer.averages()], expected[1])
    values = [variable.numpy() for variable in variables]
    with averaged_weights(SimpleNamespace(optimizer=outer)):
        alone.assert_close(variables, expected[1])
        assert_same_on(two_replicas, variables)
    for value, variable in zip(values, variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    # What is saved is the state of the first replica.
    assert_same_on(two_replicas, [*variables, *optimizer.variables])


def assert_same_on(strategy, variables):
    for variable in variables:
        first, second = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
