"""The network of a predictor in other runtimes."""

import sys

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.models import with_dtype_policy
from tests.support.images import random_image
from tests.support.protocols import PROTOCOLS, decisive_model  # noqa: F401


def assert_predicts_as_keras(model, runtime):
    for name in ("own size", "everything"):
        ours, other = (Predictor(model, PROTOCOLS[name], runtime=r) for r in (None, runtime))
        for size in ((40, 56), (33, 47)):
            image = random_image(*size)
            np.testing.assert_allclose(
                other.probabilities(image), ours.probabilities(image), atol=1e-4
            )
            assert (other.label_map(image) == ours.label_map(image)).mean() > 0.999


def test_openvino_predicts_as_keras(openvino, model):
    assert_predicts_as_keras(model, "openvino")


@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
def test_onnx_runtime_predicts_as_keras(onnxruntime, model):
    assert_predicts_as_keras(model, "onnxruntime")


def test_tensorflow_is_the_backend(model):
    image = random_image(24, 40)
    named = Predictor(model, runtime="tensorflow").probabilities(image)
    np.testing.assert_array_equal(named, Predictor(model).probabilities(image))


def test_what_a_runtime_cannot_run_is_refused(model, monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'openvino'"):
        Predictor(model, runtime="open-vino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"openvino, .* pip install 'pdanet_tf\[openvino\]'"):
        Predictor(model, runtime="openvino")


def test_onnx_runtime_refuses_half_precision(onnxruntime, model):
    with pytest.raises(ValueError, match=r"computes in float32\. Received: a model"):
        pdanet_tf.Predictor(with_dtype_policy(model, "bfloat16"), runtime="onnxruntime")
