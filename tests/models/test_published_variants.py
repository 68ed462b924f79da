"""The variants "published" against second implementations in PyTorch, loaded by Caffe's names.

Weights, biases and the statistics of batch norm are random.
"""

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.weights.sources.checkpoint import load_checkpoint, recognise, require_architecture
from tests.support.state_dict import draw

torch = pytest.importorskip("torch", reason="the second implementations are in PyTorch")
networks = pytest.importorskip("tests.support.caffe_networks")

FCN_MEAN = (122.67891434, 116.66876762, 104.00698793)
DILATION_MEAN = (116.52, 111.36, 102.93)
BRANCHES = {"_1": 6, "_2": 12, "_3": 18, "_4": 24}


def pixels(height, width):
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3))
    return image.astype("float32")


def published(network, state, image, mean):
    """Returns the logits of a second implementation for RGB pixels."""
    caffe = (image - np.array(mean, "float32"))[..., ::-1].transpose(0, 3, 1, 2)
    weights = {name: torch.from_numpy(array) for name, array in state.items()}
    with torch.no_grad():
        logits = network(weights, torch.from_numpy(caffe.copy()))
    return np.asarray(logits).transpose(0, 2, 3, 1)


def load(state, **options):
    """Builds the model that a state dict holds, and loads it."""
    checkpoint = recognise(state, "the state dict")
    found = require_architecture(checkpoint)
    model = pdanet_tf.build_model(
        found.model, found.num_classes, variant=found.variant, **{**found.options, **options}
    )
    load_checkpoint(model, checkpoint, strict=True)
    return model


def assert_equal(model, network, state, mean, sizes):
    for size in sizes:
        image = pixels(*size)
        expected = published(network, state, image, mean)
        tolerance = 1e-4 * min(1.0, float(expected.std()))
        np.testing.assert_allclose(model(image), expected, rtol=0, atol=tolerance)


def test_segnet_basic(tmp_path, capsys):
    """End to end: the file of a state dict, and the model that it holds."""
    state = draw(networks.segnet_basic_shapes(3))
    path = tmp_path / "segnet_basic.pth"
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path)
    model = pdanet_tf.build_model("segnet_basic", num_classes=3, weights=path)
    assert model.name == "segnet_basic_published"
    sizes = ((33, 47), (16, 24))
    assert_equal(model, networks.segnet_basic, state, (0, 0, 0), sizes)

    saved = tmp_path / "model.keras"
    assert cli.main(["convert", str(path), "--output", str(saved)]) == 0
    told = capsys.readouterr().out
    assert "model segnet_basic, 3 classes, variant published.\n" in told
    assert "Assumed" not in told
    assert "Not used: nothing." in told
    again = pdanet_tf.build_model("segnet_basic", 3, variant="published", weights=saved)
    np.testing.assert_array_equal(again(pixels(16, 24)), model(pixels(16, 24)))


def test_segnet_without_statistics():
    """Trained networks of SegNet have a scale and a shift in place of batch norm."""
    state = draw(networks.segnet_basic_shapes(3))
    folded = dict(state)
    for name in state:
        if not name.endswith("_bn.running_mean"):
            continue
        norm = name.removesuffix(".running_mean")
        del folded[name], folded[f"{norm}.running_var"]
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + 1e-5)
        folded[f"{norm}.weight"] = scale
        folded[f"{norm}.bias"] = state[f"{norm}.bias"] - scale * state[name]
    assert_equal(load(folded), networks.segnet_basic, state, (0, 0, 0), ((17, 23),))


@pytest.mark.slow
def test_segnet():
    state = draw(networks.segnet_shapes(3))
    assert_equal(load(state), networks.segnet, state, (0, 0, 0), ((33, 47), (64, 96)))


@pytest.mark.slow
@pytest.mark.parametrize("branches", [{"": 12}, BRANCHES], ids=["largefov", "v2"])
def test_deeplab_on_vgg(branches):
    state = draw(networks.deeplab_shapes(3, tuple(branches)))

    def network(weights, image):
        return networks.deeplab(weights, image, branches)

    # The scores lie on every 8th pixel, so the published network takes sides of 8 n + 1.
    assert_equal(load(state), network, state, FCN_MEAN, ((33, 49), (65, 73)))


@pytest.mark.slow
def test_deeplab_on_resnet():
    state = draw(networks.resnet_shapes(3))
    for name in state:
        if name.endswith(".increase.bn.weight"):
            state[name] *= 0.2  # or the sum of 33 blocks would have thousands
        if name.startswith("base.aspp.") and name.endswith(".weight"):
            state[name] *= 0.1
    mean = (122.675, 116.669, 104.008)
    model = load(state)
    assert_equal(model, networks.deeplabv2, state, mean, ((65, 97), (50, 71)))
    pdanet_tf.backbones.freeze(model, "C2")
    assert not any("c2_" in weight.path for weight in model.trainable_weights)

    def one_scale(weights, image):
        return networks.deeplabv2(weights, image, scales=())

    assert_equal(load(state, scales=()), one_scale, state, mean, ((50, 71),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("skips", "at_once"), [((), False), ((4,), False), ((4, 3), False), ((4, 3), True)]
)
def test_fcn(skips, at_once):
    state = draw(networks.fcn_shapes(3, skips))

    def network(weights, image):
        return networks.fcn(weights, image, skips, at_once)

    model = load(state, **({"at_once": True} if at_once else {}))
    assert_equal(model, network, state, FCN_MEAN, ((33, 47), (8, 1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("context", "large"), [(None, False), (7, False), (8, False), (10, False), (8, True)]
)
def test_dilation(context, large):
    state = draw(networks.dilation_shapes(3, context, large))

    def network(weights, image):
        height, width = image.shape[2:]
        # Reflected by 186 pixels, and at the bottom and at the right until a multiple of 8.
        more = [(-side) % 8 for side in (height, width)]
        tile = np.pad(
            image, ((0, 0), (0, 0), *((186, 186 + each) for each in more)), mode="reflect"
        )
        scores = networks.dilation(weights, torch.from_numpy(tile), context, large)
        if context == 10:
            return networks.upsample(scores, 8)[:, :, 4 : 4 + height, 4 : 4 + width]
        # Score i lies on pixel 8 i. The last score also holds for the pixels behind it.
        scores = np.pad(scores, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
        size = [8 * (side - 1) + 1 for side in scores.shape[2:]]
        scores = torch.nn.functional.interpolate(
            torch.from_numpy(scores), size, mode="bilinear", align_corners=True
        )
        return scores[:, :, :height, :width]

    assert_equal(load(state), network, state, DILATION_MEAN, ((40, 56), (17, 33)))
