import keras
import numpy as np
import pytest

from pdanet_tf.optimizers import SGD, LinearWarmup

schedules = keras.optimizers.schedules


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_cosine_decay_after_the_warmup_is_that_of_keras():
    ours = LinearWarmup(schedules.CosineDecay(0.4, 30), 10)
    theirs = schedules.CosineDecay(0.0, 30, warmup_target=0.4, warmup_steps=10)
    np.testing.assert_allclose(rates(ours, range(45)), rates(theirs, range(45)), atol=1e-7)


def test_any_schedule_begins_at_the_end_of_the_warmup():
    decay = LinearWarmup(schedules.PolynomialDecay(0.5, 8, 0.0, power=0.9), 4)
    expected = [0.0, 0.125, 0.25, 0.375, *(0.5 * (1 - step / 8) ** 0.9 for step in range(9))]
    np.testing.assert_allclose(rates(decay, range(13)), expected, rtol=1e-6, atol=1e-8)
    constant = LinearWarmup(0.5, 4)
    np.testing.assert_allclose(rates(constant, (0, 1, 4, 1000)), [0, 0.125, 0.5, 0.5])


@pytest.mark.parametrize("rate", [0.5, schedules.PolynomialDecay(0.5, 8, 0.0, power=0.9)])
def test_an_optimizer_takes_it_along(rate):
    optimizer = SGD(LinearWarmup(rate, 4))
    twin = SGD.from_config(optimizer.get_config())
    optimizer.iterations.assign(6)
    twin.iterations.assign(6)
    assert float(optimizer.learning_rate) == float(twin.learning_rate) > 0


def test_a_warmup_without_steps():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        LinearWarmup(0.1, 0)
