"""MiT and DeepLab backbones of KerasHub and KerasCV: stages by stride."""

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.backbones import as_backbone, stage_strides
from tests.support.hub_models import make_cv_mit, make_deeplab, make_mit, randomize

STRIDES = {"C2": 4, "C3": 8, "C4": 16, "C5": 32}


def test_mit_of_keras_hub(keras_hub):
    mit = make_mit(keras_hub)
    backbone = as_backbone(randomize(mit))
    assert stage_strides(backbone) == STRIDES
    pixels = np.random.default_rng(0).random((1, 64, 64, 3)).astype("float32")
    found = backbone(pixels)
    expected = keras.Model(mit.input, mit.pyramid_outputs)(pixels)
    for level in range(1, 5):
        np.testing.assert_array_equal(found[f"C{level + 1}"], expected[f"P{level}"])
    model = pdanet_tf.build_model("deeplabv3plus_resnet18", 3, (64, 64, 3), backbone=mit)
    assert model(np.zeros((2, 64, 64, 3), "uint8")).shape == (2, 64, 64, 3)


def test_mit_of_keras_cv(keras_cv):
    mit_of_cv = make_cv_mit(keras_cv, include_rescaling=False)
    assert stage_strides(as_backbone(mit_of_cv)) == STRIDES


def test_the_encoder_of_deeplab(keras_hub):
    segmenter = make_deeplab(keras_hub)
    backbone = as_backbone(segmenter.backbone)
    assert stage_strides(backbone) == STRIDES
    encoder = segmenter.backbone.image_encoder
    assert {id(each) for each in backbone.weights} <= {id(each) for each in encoder.weights}
    model = pdanet_tf.build_model("fcn_resnet18", 3, backbone=segmenter.backbone)
    assert model(np.zeros((1, 65, 97, 3), "uint8")).shape == (1, 65, 97, 3)


class Pyramid(keras.Model):
    """A backbone whose levels have given strides."""

    def __init__(self, levels):
        images = keras.Input((None, None, 3))
        outputs = {
            name: keras.layers.Conv2D(2, 3, strides=stride, padding="same")(images)
            for name, stride in levels.items()
        }
        super().__init__(images, outputs, name="pyramid")
        self.pyramid_outputs = outputs


def test_dilated_levels_keep_their_numbers():
    backbone = as_backbone(Pyramid({"P2": 4, "P3": 8, "P4": 8, "P5": 8}))
    assert stage_strides(backbone) == {"C2": 4, "C3": 8, "C4": 8, "C5": 8}
    shifted = as_backbone(Pyramid({"P1": 4, "P2": 8, "P3": 8}))
    assert stage_strides(shifted) == {"C2": 4, "C3": 8, "C4": 8}


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"P1": 4, "P2": 16}, r"P2 would be none of C1 to C5.*: P1 \(stride 4\), P2 \(stride 16\)"),
        ({"P3": 8, "P6": 64}, "P6 would be none of C1 to C5"),
        ({"P1": 1, "P2": 2}, "P1 would be none"),
        ({"P2": 6}, "P2 would be none"),
        ({"stem": 4, "stage1": 8}, "not all of its levels are features of a number and a stride"),
    ],
)
def test_levels_that_are_no_stages(levels, message):
    with pytest.raises(ValueError, match=message):
        as_backbone(Pyramid(levels))
