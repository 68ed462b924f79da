"""Checks of shapes."""

import re

import pytest

from pdanet_tf.base.shapes import channels_of


def test_channels_are_the_last_axis():
    assert channels_of((None, None, 5, 7)) == 7


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match=re.escape("input_shape=(1, 2, 3, None)")):
        channels_of((1, 2, 3, None))
