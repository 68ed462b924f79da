"""Label maps of images of one size, computed in the graph of an exported model."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pdanet_tf.data.readers import resize_image
from pdanet_tf.exporting import label_maps
from pdanet_tf.exporting.label_maps import compute_in_strips, place, resize, working_sizes
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.ops.resize import bilinear_resize
from tests.support.images import random_image


def test_the_export_resizes_nearly_as_prediction_does():
    image = np.asarray(Image.fromarray(random_image(12, 16)).resize((160, 120), Image.BICUBIC))
    for size in ((90, 120), (180, 240), (120, 160), (64, 200)):
        found, expected = np.asarray(resize(image[None], size))[0], resize_image(image, size)
        assert np.abs(found - expected).max() <= 2
        assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("size", [(37, 53), (7, 2), (1, 1)])
def test_the_export_computes_in_strips(views, size, monkeypatch):
    monkeypatch.setattr(label_maps, "VALUES_PER_STRIP", 2 * 53 * 4 * 5)
    rng = np.random.default_rng(0)
    logits = [tf.constant(rng.normal(0, 2, (2, 5 + n, 7, 4)), "float32") for n in range(views)]
    spec = tf.TensorSpec((None, None, None, 4), tf.float32)

    @tf.function
    def add(logits, size):
        placed = [place(x, size, size, None) for x in logits]
        return compute_in_strips(placed, size, lambda strips: (tf.add_n(strips),), (spec,))

    (found,) = add(logits, tf.constant(size))
    expected = np.sum([bilinear_resize(view, size) for view in logits], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("short_edges", [None, (300, 450, 600)])
def test_export_resizes_to_the_sizes_of_the_protocol(short_edges):
    protocol = Protocol(short_edges, 600)
    for size in ((33, 47), (512, 739), (739, 512), (2000, 3000), (4, 5), (450, 450)):
        found = [tuple(size.numpy()) for size in working_sizes(tf.constant(size), protocol)]
        assert found == protocol.sizes(size)
