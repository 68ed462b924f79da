"""Images of any number of channels, as people see them."""

import numpy as np
import pytest

from pdanet_tf.inference.display import to_rgb
from tests.support.images import random_image


def test_photos_are_shown_as_they_are():
    image = random_image(6, 8)
    assert to_rgb(image) is image
    np.testing.assert_array_equal(to_rgb(image, (2, 1, 0)), image[..., ::-1])
    np.testing.assert_array_equal(to_rgb(image, [1]), image[..., [1, 1, 1]])


def test_the_first_channels_are_shown():
    image = random_image(6, 8)
    four, two = image[..., [0, 1, 2, 0]], image[..., :2]
    np.testing.assert_array_equal(to_rgb(four), image)
    np.testing.assert_array_equal(to_rgb(two), image[..., [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_values_are_scaled_by_their_percentiles(dtype):
    ramp = np.arange(101).reshape(1, 101, 1)
    image = (1000 + 10 * np.concatenate([ramp, ramp[:, ::-1], 0 * ramp, ramp], -1)).astype(dtype)
    shown = to_rgb(image, (0, 1, 2))
    assert shown.dtype == np.uint8
    # The percentiles 2 and 98 of 0 to 100 are 2 and 98.
    expected = np.clip((ramp[0, :, 0] - 2) / 96, 0, 1) * 255
    np.testing.assert_allclose(shown[0, :, 0], expected, atol=1)
    np.testing.assert_array_equal(shown[0, :, 1], shown[0, ::-1, 0])
    assert not shown[..., 2].any()  # a channel of one value


@pytest.mark.parametrize("channels", [(), (0, 1), (0, 1, 4), (-1,)])
def test_channels_that_do_not_exist(channels):
    with pytest.raises(ValueError, match=r"one or three numbers from 0 to 2\. Received"):
        to_rgb(random_image(6, 8), channels)
