"""Every layer has initializers of its own, with the reference's distributions."""

import keras
import numpy as np
import pytest

from pdanet_tf.layers import ConvBatchNorm
from pdanet_tf.layers.initializers import backbone_kernel, head_beta, head_kernel


@pytest.mark.parametrize(("initializer", "fan"), [(head_kernel, 9 * 32), (backbone_kernel, 9 * 64)])
def test_standard_deviation_of_a_kernel(initializer, fan):
    kernel = np.asarray(initializer()((3, 3, 32, 64)))
    deviation = np.sqrt(2 / fan)
    assert kernel.std() == pytest.approx(deviation, rel=0.03)
    assert kernel.mean() == pytest.approx(0, abs=0.03 * deviation)
    # A distribution truncated at two standard deviations would have no such values.
    assert np.mean(np.abs(kernel) > 2 * deviation) == pytest.approx(0.0455, abs=0.01)


def test_shift_of_a_heads_batch_norm():
    np.testing.assert_array_equal(head_beta()((3,)), np.full(3, 1e-4, "float32"))


@pytest.mark.parametrize("initializer", [head_kernel, backbone_kernel])
def test_two_initializers_draw_different_kernels_of_one_shape(initializer):
    one, other = (np.asarray(initializer()((3, 3, 2, 4))) for _ in range(2))
    assert not np.any(one == other)


def test_the_default_is_that_of_heads_and_is_saved():
    layers = [ConvBatchNorm(4, 3) for _ in range(2)]
    for layer in layers:
        layer.build((None, 4, 4, 2))
    assert not np.any(layers[0].get_weights()[0] == layers[1].get_weights()[0])
    config = layers[0].get_config()["kernel_initializer"]
    assert config == keras.initializers.serialize(head_kernel())
    again = ConvBatchNorm.from_config(layers[0].get_config())
    assert again.get_config() == layers[0].get_config()
