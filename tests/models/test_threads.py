"""Several threads build models of different dtype policies at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest

import pdanet_tf
from pdanet_tf.backbones import Backbone
from pdanet_tf.models.inspection import find_logits

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")


@pytest.fixture
def all_threads_at_once(monkeypatch):
    """Makes each thread wait, before and after it builds a backbone, for all the others."""
    barrier, build = threading.Barrier(len(POLICIES), timeout=60), Backbone.__call__

    def build_together(backbone, **options):
        barrier.wait()
        model = build(backbone, **options)
        barrier.wait()
        return model

    monkeypatch.setattr(Backbone, "__call__", build_together)


@pytest.mark.usefixtures("all_threads_at_once")
def test_each_thread_gets_its_own_policy():
    def work(policy):
        model = pdanet_tf.build_model("segnet_basic", num_classes=3, dtype=policy)
        return model, keras.config.dtype_policy().name

    with ThreadPoolExecutor(len(POLICIES)) as pool:
        results = list(pool.map(work, POLICIES))
    for policy, (model, afterwards) in zip(POLICIES, results, strict=True):
        # A layer of the backbone, a layer of the head, and a layer inside that one.
        conv = model.get_layer("decoder1_conv1")
        layers = (model.get_layer("basic").get_layer("block1_pool"), conv, conv.conv)
        assert [layer.dtype_policy.name for layer in layers] == [policy] * 3
        assert find_logits(model, "model").dtype == "float32"
        assert afterwards == "float32"
    assert keras.config.dtype_policy().name == "float32"
