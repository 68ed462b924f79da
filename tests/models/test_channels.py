"""Models of images of any number of channels, and weights for RGB images in them."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

import pdanet_tf
from pdanet_tf.backbones.registry import Backbone
from pdanet_tf.layers import PixelNormalization
from pdanet_tf.layers.normalization import pixel_mean
from pdanet_tf.models.inspection import count_channels
from pdanet_tf.weights.channels import adapt_kernel, copy_adapted
from pdanet_tf.weights.files import load_weights
from tests.support.golden_models import layout
from tests.support.models import blank
from tests.support.state_dict import draw

# `pytest.warns` raises the other warnings of its block again, under another module.
OF_KERAS = pytest.mark.filterwarnings("ignore:__array__ implementation")
# A kernel (filters 2, channels 3, height 1, width 2 in PyTorch) of the squares of 0 to 11, adapted
# by timm 1.0.31's `adapt_input_conv`; flattened as (height, width, channels, filters).
TIMM = {
    1: [20, 200, 35, 251],
    2: [0, 54, 6, 96, 1.5, 73.5, 13.5, 121.5],
    4: [0, 27, 3, 48, 12, 75, 0, 27, 0.75, 36.75, 6.75, 60.75, 18.75, 90.75, 0.75, 36.75],
}


@pytest.mark.parametrize("channels", TIMM)
def test_kernels_are_adapted_as_in_timm(channels):
    kernel = (np.arange(12, dtype="float32") ** 2).reshape(2, 3, 1, 2).transpose(2, 3, 1, 0)
    adapted = adapt_kernel(kernel, channels)
    assert (adapted.shape, adapted.dtype) == ((1, 2, channels, 2), np.float32)
    np.testing.assert_allclose(adapted.ravel(), TIMM[channels], rtol=1e-7)
    # A kernel of blue, green and red begins with red as well.
    reverse = adapt_kernel(kernel[:, :, ::-1], channels, reverse=True)
    np.testing.assert_array_equal(reverse, adapted)


@pytest.mark.parametrize(
    "name",
    ["pdanet_resnet18", "deeplabv3plus_resnet18", "fcn8s_vgg16", "segnet_vgg16", "segnet_basic"],
)
def test_families_take_images_of_other_channels(name):
    shape = (None, None, 4)
    model = blank(name, input_shape=shape, mean=(1, 2, 3, 4), std=(1, 1, 2, 2))
    assert count_channels(model) == 4
    assert model.compute_output_shape((2, 64, 96, 4)) == (2, 64, 96, 5)


def test_normalisation_of_each_channel():
    layer = PixelNormalization(mean=(100, 200), std=(10, 50))
    pixels = np.array([[[[110, 150]]]], "uint16")
    np.testing.assert_allclose(layer(pixels), [[[[1, -1]]]])
    assert layer.channels == 2
    # Three channels with a mean of their own are still reversed for "caffe", four are not.
    three = PixelNormalization("caffe", mean=(1, 2, 3), std=(1, 1, 1))
    np.testing.assert_allclose(three(np.array([[[[2.0, 4.0, 6.0]]]])), [[[[3, 2, 1]]]])
    four = PixelNormalization("caffe", mean=(0, 0, 0, 0), std=(1, 1, 1, 1))
    np.testing.assert_allclose(four(np.array([[[[1.0, 2.0, 3.0, 4.0]]]])), [[[[1, 2, 3, 4]]]])
    # What is not given is that of the normalisation.
    mean_only = PixelNormalization("caffe", mean=(1, 2, 3))
    np.testing.assert_allclose(mean_only(np.array([[[[2.0, 4.0, 6.0]]]])), [[[[3, 2, 1]]]])
    assert pixel_mean("torch", (5, 6)) == (5, 6)
    for arguments, message in (
        ({"mean": (1, 2)}, "mean must have one number per channel, 3"),
        ({"mean": (1, 2), "std": (1,)}, "std must have one number per channel, 2"),
        ({"mean": (1,), "std": (0,)}, "std must be above 0"),
        ({"mean": (np.nan,), "std": (1,)}, "mean must be"),
    ):
        with pytest.raises(ValueError, match=message):
            PixelNormalization(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"4 channels have no standard normalisation: .*include_preprocessing=False"),
        ({"mean": (1,) * 4}, "give mean and std"),
        ({"mean": (1,) * 3, "std": (1,) * 3}, "mean must have one number per channel, 4"),
        (
            {"mean": (1,) * 4, "std": (1,) * 4, "include_preprocessing": False},
            "mean and std can be given only with include_preprocessing=True",
        ),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.build_model("fcn_resnet18", 3, (None, None, 4), **options)


def test_a_backbone_for_rgb_only(restored_registry):
    def head(stages, num_classes, dropout):
        raise NotImplementedError

    def only_rgb():
        raise NotImplementedError

    @pdanet_tf.register_family({"own": only_rgb}, head)
    def rgb_family(backbone, **options):
        return pdanet_tf.segmentation_model("rgb_family", backbone, head, **options)

    assert not Backbone(only_rgb).takes_channels
    with pytest.raises(ValueError, match=r"backbone own takes RGB images only, .*'channels'"):
        pdanet_tf.build_model("rgb_family_own", 3, (None, None, 2), mean=(0, 0), std=(1, 1))


@OF_KERAS
def test_a_model_of_grey_images_equals_that_of_rgb(tmp_path):
    """With the kernels added, a grey image gives the logits of the RGB image of equal channels."""
    rgb = pdanet_tf.build_model(
        "fcn_resnet18", 3, mean=(3, 3, 3), std=(50, 50, 50), upsample=False, weights=None
    )
    rgb.save(tmp_path / "rgb.keras")
    with pytest.warns(UserWarning, match=r"rgb\.keras are for RGB images\. .* to 1 channel: .*add"):
        grey = pdanet_tf.build_model(
            "fcn_resnet18",
            3,
            (None, None, 1),
            mean=(3,),
            std=(50,),
            upsample=False,
            weights=tmp_path / "rgb.keras",
        )
    image = np.random.default_rng(0).integers(0, 256, (1, 40, 56, 1)).astype("uint8")
    expected = rgb(np.repeat(image, 3, -1))
    found = grey(image)
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), atol=1e-4)
    # Files of such models are complete.
    grey.save(tmp_path / "grey.keras")
    again = keras.saving.load_model(tmp_path / "grey.keras")
    np.testing.assert_array_equal(to_numpy(again(image)), to_numpy(found))
    assert again.get_layer("normalization").mean == (3.0,)
    with pytest.raises(ValueError, match=r"expected \(3, 3, 2, 64\), found \(3, 3, 1, 64\)"):
        pdanet_tf.build_model(
            "fcn_resnet18",
            3,
            (None, None, 2),
            mean=(3, 3),
            std=(50, 50),
            weights=tmp_path / "grey.keras",
        )


@OF_KERAS
def test_only_the_first_kernel_is_adapted():
    backbone, rgb = (
        pdanet_tf.backbones.resnet18(stem="7x7", channels=channels) for channels in (5, 3)
    )
    with pytest.warns(UserWarning, match="to 5 channels: .* repeated, times 3/5"):
        copy_adapted(rgb, backbone, "a test", reverse=False)
    for ours, theirs in zip(backbone.weights, rgb.weights, strict=True):
        ours_array, theirs_array = to_numpy(ours), to_numpy(theirs)
        if ours.path == "stem_conv1/conv/kernel":
            expected = theirs_array[:, :, [0, 1, 2, 0, 1]] * 0.6
            np.testing.assert_allclose(ours_array, expected, rtol=1e-6)
        else:
            np.testing.assert_array_equal(ours_array, theirs_array)


@OF_KERAS
def test_imagenet_weights_are_adapted(monkeypatch):
    def load(backbone, _):
        for weight in backbone.weights:
            weight.assign(np.full(weight.shape, 2))

    monkeypatch.setattr("pdanet_tf.models.build.load_imagenet_weights", load)
    shape, statistics = (None, None, 2), {"mean": (0, 0), "std": (1, 1)}
    with pytest.warns(UserWarning, match="resnet_18_imagenet are .* to 2 channels: .*times 3/2"):
        model = pdanet_tf.build_model(
            "fcn_resnet18", 3, shape, backbone_weights="imagenet", **statistics
        )
    first, *others = next(layer for layer in model.layers if layer.name == "resnet18").weights
    assert first.shape[2] == 2
    assert (to_numpy(first) == 3).all()
    assert all((to_numpy(weight) == 2).all() for weight in others)


@OF_KERAS
@pytest.mark.parametrize("strict", [True, False])
def test_a_published_checkpoint_is_adapted(strict, monkeypatch):
    """The model of grey images gets the sum of the kernels of the checkpoint."""
    shapes = layout("fcn_deepsup")
    states = {part: draw(shapes[part]) for part in ("encoder", "decoder")}
    checkpoint = "ade20k-resnet18dilated-c1_deepsup"
    monkeypatch.setattr("pdanet_tf.weights.published_files.import_torch", lambda: None)
    monkeypatch.setattr("pdanet_tf.weights.published_files.fetch", lambda file: file.url)
    monkeypatch.setattr(
        "pdanet_tf.weights.published_files.read_torch_file",
        lambda url: states["encoder" if "encoder" in url else "decoder"],
    )
    classes = len(states["decoder"]["conv_last.bias"])
    model = pdanet_tf.build_model("fcn_resnet18", classes, (None, None, 1), mean=(0,), std=(1,))
    with pytest.warns(UserWarning, match=f"'{checkpoint}' are for RGB images.* to 1 channel"):
        load_weights(model, checkpoint, strict=strict)
    kernel = next(weight for weight in model.weights if weight.path == "stem_conv1/conv/kernel")
    expected = states["encoder"]["conv1.weight"].sum(1, keepdims=True).transpose(2, 3, 1, 0)
    np.testing.assert_allclose(to_numpy(kernel), expected, rtol=1e-6)
