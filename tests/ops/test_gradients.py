"""Custom gradients do not keep graphs or models in memory."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from pdanet_tf.layers import ConvBatchNorm, PositionAttention
from pdanet_tf.ops import attention as dot_product


@pytest.mark.parametrize("make", [lambda: ConvBatchNorm(256, 3), PositionAttention])
def test_no_graph_outlives_its_layer(make, monkeypatch):
    monkeypatch.setattr(dot_product, "_ENERGIES", 1)
    layer = make()
    inputs = np.ones((1, 3, 4, 256), "float32")
    layer(inputs)
    graph = weakref.ref(tf.function(layer).get_concrete_function(inputs).graph)
    del layer
    gc.collect()
    assert graph() is None
