import keras
import numpy as np
import pytest

from pdanet_tf.layers import PositionAttention
from pdanet_tf.optimizers import SGD, Adam, AdamW, decays


def small_model():
    images = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(3, 3, name="conv")(images)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = PositionAttention(name="attention")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def test_kernels_and_attention_scales_decay_and_nothing_else():
    variables = {v.path: decays(v) for v in small_model().trainable_variables}
    decaying = {path for path, decay in variables.items() if decay}
    assert decaying == {
        "conv/kernel",
        "attention/gamma",
        *(f"attention/{part}/kernel" for part in ("query", "key", "value")),
    }
    assert {"conv/bias", "bn/gamma", "bn/beta"} <= variables.keys() - decaying


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
@pytest.mark.parametrize("scales", [True, False])
def test_attention_scales_can_be_left_out_of_the_decay(optimizer, scales):
    kernel = keras.Variable(np.full((2, 2), 3.0), name="kernel")
    gamma = keras.Variable(3.0, name="gamma")
    made = optimizer(0.1, weight_decay=0.5, decay_attention_scales=scales)
    stored = made.get_config()
    if scales:  # files of before the option
        del stored["decay_attention_scales"]
    made = optimizer.from_config(stored)  # as in a run that is resumed
    made.build([kernel, gamma])
    made.apply([np.zeros((2, 2), "float32"), np.zeros((), "float32")])
    # SGD and AdamW shrink the weights by 1 - 0.1 * 0.5; Adam's first step is the learning rate.
    expected = 3.0 - 0.1 if optimizer is Adam else 3.0 * (1 - 0.1 * 0.5)
    np.testing.assert_allclose(kernel, np.full((2, 2), expected), rtol=1e-6)
    np.testing.assert_allclose(gamma, expected if scales else 3.0, rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_equal_pytorchs_formula(momentum, nesterov):
    rates = keras.optimizers.schedules.PolynomialDecay(0.1, 10, end_learning_rate=0.0, power=0.9)
    optimizer = SGD(rates, momentum, nesterov and momentum > 0, weight_decay=0.01)
    kernel = keras.Variable(np.array([1.0, -2.0]), name="kernel")
    bias = keras.Variable(np.array([1.0, -2.0]), name="bias")
    optimizer.build([kernel, bias])
    rng = np.random.default_rng(0)
    expected = {"kernel": np.array([1.0, -2.0]), "bias": np.array([1.0, -2.0])}
    velocity = {"kernel": 0.0, "bias": 0.0}
    for step in range(5):
        gradient = rng.standard_normal(2)
        optimizer.apply([gradient.astype("float32")] * 2)
        rate = 0.1 * (1 - step / 10) ** 0.9
        for name, decay in (("kernel", 0.01), ("bias", 0.0)):
            total = gradient + decay * expected[name]
            velocity[name] = momentum * velocity[name] + total
            change = velocity[name]
            if nesterov and momentum:
                change = total + momentum * velocity[name]
            expected[name] = expected[name] - rate * change
    np.testing.assert_allclose(kernel, expected["kernel"], rtol=1e-5)
    np.testing.assert_allclose(bias, expected["bias"], rtol=1e-5)


def test_decay_and_momentum_survive_saving_and_loading(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, 4, 4, 2)).astype("float32")
    targets = rng.standard_normal((4, 3)).astype("float32")
    model = small_model()
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0, power=0.9)
    model.compile(SGD(schedule, weight_decay=0.5), "mse")
    model.fit(images, targets, batch_size=4, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config()["weight_decay"] == 0.5
    for each in (model, loaded):
        each.fit(images, targets, batch_size=4, epochs=3, verbose=0)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_two_replicas_step_as_one(two_replicas):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, 4, 4, 2)).astype("float32")
    targets = rng.standard_normal((4, 3)).astype("float32")
    alone = small_model()
    alone.get_layer("bn").trainable = False  # its averages differ between replicas
    with two_replicas.scope():
        together = small_model()
        together.get_layer("bn").trainable = False
        together.compile(SGD(0.1, weight_decay=0.5), "mse")
    together.set_weights(alone.get_weights())
    alone.compile(SGD(0.1, weight_decay=0.5), "mse")
    for each in (alone, together):
        each.fit(images, targets, batch_size=4, epochs=3, verbose=0, shuffle=False)
    for ours, theirs in zip(alone.get_weights(), together.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_negative_decay():
    with pytest.raises(ValueError, match="weight_decay"):
        SGD(weight_decay=-1.0)
