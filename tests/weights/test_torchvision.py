"""FCN and DeepLab v3 of torchvision: networks, checkpoints and training, against torchvision."""

import keras
import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.weights.files import load_weights
from tests.support.foreign import (
    draw_images,
    import_torchvision,
    run,
    with_random_statistics,
)
from tests.support.models import blank

MODELS = ("fcn_resnet50", "deeplabv3_resnet50", "fcn_resnet101", "deeplabv3_resnet101")
OUTPUTS = {"logits": "out", "aux_logits": "aux"}


def slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def segmentation():
    return import_torchvision("torchvision.models.segmentation")


@pytest.fixture
def make(segmentation, tmp_path):
    """Builds a network of torchvision, and writes its checkpoint."""

    def make(name, aux=True):
        import torch

        build = getattr(segmentation, name)
        network = build(weights=None, weights_backbone=None, aux_loss=aux, num_classes=5)
        network = with_random_statistics(network)
        torch.save(network.state_dict(), tmp_path / "network.pth")
        return network, tmp_path / "network.pth"

    return make


pytestmark = pytest.mark.extra


@pytest.mark.parametrize("name", [*MODELS[:2], *slow(MODELS[2:])])
def test_the_same_logits(make, name):
    network, file = make(name)
    options = {"num_classes": 5, "include_preprocessing": False, "aux_head": True}
    model = blank(name, weights=file, **options)
    assert model.name == f"{name}_torchvision"
    for size in ((64, 96), (41, 57), (65, 49)):
        images = draw_images(*size)
        expected, found = run(network, images), model(images)
        for ours, theirs in OUTPUTS.items():
            largest = np.abs(expected[theirs]).max()
            assert largest > 0.1
            atol = 5e-6 * max(0.4, largest)  # those of ResNet101 are ten times as large
            np.testing.assert_allclose(found[ours], expected[theirs], atol=atol)


@pytest.mark.parametrize("name", MODELS[:2])
def test_a_checkpoint_and_a_model_of_which_one_has_no_auxiliary_head(make, name):
    network, file = make(name)
    model = blank(name, variant="torchvision", include_preprocessing=False)
    load_weights(model, file)
    images = draw_images(33, 49)
    np.testing.assert_allclose(model(images), run(network, images)["out"], atol=2e-6)
    _, file = make(name, aux=False)
    with pytest.raises(ValueError, match=r"missing: aux_head/conv.* \(aux_classifier\.0\.weight\)"):
        blank(name, weights=file, aux_head=True)


@pytest.mark.parametrize("name", MODELS[:2])
def test_the_same_training_step(make, name):
    """Kinds and rates of dropout; momentum and epsilon of batch norm; outputs without dropout."""
    import torch

    network, file = make(name)
    model = blank(name, weights=file, include_preprocessing=False, upsample=False, aux_head=True)
    theirs = [module for module in network.modules() if isinstance(module, torch.nn.Dropout)]
    ours = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    ours = [each for each in (*ours, model.get_layer("aux_head").spatial_dropout) if each.rate]
    assert {type(layer) for layer in ours} == {keras.layers.Dropout}
    assert sorted(layer.rate for layer in ours) == sorted(module.p for module in theirs)
    for module in theirs:
        module.p = 0.0
    for layer in ours:
        layer.rate = 0.0
    images = draw_images(64, 48)
    network.train()
    expected = run(network, images)
    found = model(images, training=True)
    for key, other in OUTPUTS.items():
        # torchvision's logits are upsampled.
        logits = torch.from_numpy(np.array(found[key]).transpose(0, 3, 1, 2))
        size = images.shape[1:3]
        logits = torch.nn.functional.interpolate(logits, size, mode="bilinear").numpy()
        np.testing.assert_allclose(logits.transpose(0, 2, 3, 1), expected[other], atol=1e-3)
    means = {w.path: w for w in model.weights if w.path.endswith("moving_mean")}
    states = network.state_dict()
    for path, key in (
        ("stem_conv1/batch_norm/moving_mean", "backbone.bn1.running_mean"),
        ("c4_block2_conv2/batch_norm/moving_mean", "backbone.layer3.1.bn2.running_mean"),
    ):
        np.testing.assert_allclose(means[path], states[key], atol=1e-5)


def test_a_backbone_alone(tmp_path):
    import torch

    resnet = with_random_statistics(import_torchvision().resnet18(weights=None))
    file = tmp_path / "resnet18.pth"
    torch.save(resnet.state_dict(), file)
    model = blank("danet_resnet18", stem="7x7", output_stride=32)
    assert load_weights(model, file, strict=False).backbone == "resnet18"
    images = draw_images(64, 65)
    backbone = model.get_layer("resnet18")
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x))))
        expected = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
    expected = expected.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(backbone(images)["C5"], expected, atol=1e-4)
    with pytest.raises(ValueError, match=r"the backbone resnet18 \(stem='7x7'\) alone"):
        pdanet_tf.build_model("fcn_resnet18", weights=file)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lraspp_mobilenet_v3_large", "only FCN and DeepLabV3 are here"),
        ("deeplabv3_mobilenet_v3_large", "must be ResNet18, 34, 50 or 101"),
    ],
)
def test_networks_that_are_not_here(segmentation, tmp_path, name, reason):
    import torch

    network = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5)
    torch.save(network.state_dict(), tmp_path / "file.pth")
    with pytest.raises(ValueError, match=rf"a checkpoint of torchvision, but no model.*{reason}"):
        pdanet_tf.build_model("fcn_resnet50", weights=tmp_path / "file.pth")
