"""A `.keras` file that an earlier version wrote (commit 610d9cf, before the modules moved).

The model has a layer of every kind, and an optimizer, losses and metrics; it was saved after two
steps of training. The arrays are its inputs, its logits then, its logits after a third step,
and the label map of the first image.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

import pdanet_tf

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def stored():
    return np.load(FOLDER / "before_the_move.npz")


@pytest.fixture
def model():
    return keras.saving.load_model(FOLDER / "before_the_move.keras")


def test_it_computes_what_it_did(model, stored):
    outputs = model.predict(stored["images"], verbose=0)
    for name, values in outputs.items():
        np.testing.assert_allclose(values, stored[name], rtol=1e-4, atol=1e-4)


def test_it_trains_on(model, stored):
    labels = dict.fromkeys(("logits", "aux_logits"), stored["labels"])
    model.train_on_batch(stored["images"], labels)
    assert int(model.optimizer.iterations) == 3
    after = model.predict(stored["images"], verbose=0)["logits"]
    # Dropout draws other numbers, so the step is not exactly the same.
    change = np.abs(after - stored["logits"]).mean()
    assert np.abs(after - stored["logits_after_step"]).mean() < change


def test_the_package_loads_it(stored):
    predictor = pdanet_tf.Predictor(FOLDER / "before_the_move.keras")
    label_map = predictor.label_map(stored["images"][0])
    np.testing.assert_array_equal(label_map, stored["label_map"])
