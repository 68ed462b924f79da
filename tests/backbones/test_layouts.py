"""Stems and layouts of ResNets of other packages. Parity with these is in tests/weights."""

from pathlib import Path

import pytest

from pdanet_tf.backbones.resnet import Layout, resnet18, resnet50
from pdanet_tf.base.choices import STEMS
from pdanet_tf.models import variants
from pdanet_tf.weights.fitting import stem_of


def layer(backbone, name):
    return backbone.get_layer(name)


def test_the_pool_of_caffe_has_one_more_window():
    # 64 x 65 pixels are 32 x 33 after the stem: 32 / 2 rounds up to 16, and 32 // 2 + 1 is 17.
    shape = (1, 64, 65, 3)
    ours = resnet18(stem="7x7", width=1 / 32).compute_output_shape(shape)
    caffe = resnet18(stem="7x7", width=1 / 32, layout=Layout(ceil_pool=True))
    assert ours["C2"][1:3] == (16, 17)
    assert caffe.compute_output_shape(shape)["C2"][1:3] == (17, 17)


@pytest.mark.parametrize(("full", "expected"), [(False, (1, 2, 2, 4)), (True, (2, 2, 4, 4))])
def test_dilation_of_the_first_convolution_of_a_stage(full, expected):
    backbone = resnet18(width=1 / 32, layout=Layout(full_dilation=full))
    names = ("c4_block1_conv1", "c4_block1_conv2", "c5_block1_conv1", "c5_block1_conv2")
    assert tuple(layer(backbone, name).dilation_rate for name in names) == expected


def test_the_second_convolution_of_a_block_without_dilation():
    backbone = resnet18(width=1 / 32, layout=Layout(plain_second=True))
    names = ("c4_block1_conv2", "c5_block2_conv1", "c5_block2_conv2")
    assert tuple(layer(backbone, name).dilation_rate for name in names) == (1, 4, 1)


@pytest.mark.parametrize(("first", "expected"), [(False, (1, 2)), (True, (2, 1))])
def test_the_convolution_that_has_the_stride(first, expected):
    backbone = resnet50(width=1 / 32, layout=Layout(stride_first=first))
    names = ("c3_block1_conv1", "c3_block1_conv2")
    assert tuple(layer(backbone, name).strides for name in names) == expected


def test_stems_are_told_apart_by_their_weights():
    filters = {"deep": (64, 64, 128), "v1c": (32, 32, 64), "v1d": (32, 32, 64)}
    for stem in STEMS:
        backbone = resnet18(stem=stem)
        shapes = {weight.path: tuple(weight.shape) for weight in backbone.weights}
        assert stem_of(shapes) == stem
        if stem in filters:
            names = ("stem_conv1", "stem_conv2", "stem_conv3")
            assert tuple(layer(backbone, name).filters for name in names) == filters[stem]
    pool = layer(resnet18(stem="v1d", width=1 / 32), "c3_block1_shortcut_pool")
    assert (pool.pool_size, pool.strides, pool.padding) == ((2, 2), (2, 2), "same")


def test_every_module_of_variants_is_imported():
    files = {path.stem for path in Path(variants.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(variants.__all__)
