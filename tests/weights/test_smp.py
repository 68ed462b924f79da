"""Checkpoints of segmentation_models.pytorch: our variants compute the same logits."""

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.weights.files import load_weights
from pdanet_tf.weights.sources.checkpoint import recognise, require_architecture

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="needs segmentation_models_pytorch", exc_type=ImportError
)
pytestmark = pytest.mark.extra

CLASSES = 3
TOLERANCE = 1e-4


def network(kind, encoder, **options):
    """Returns a network of the package with random weights and statistics."""
    torch.manual_seed(0)
    made = getattr(smp, kind)(encoder, encoder_weights=None, classes=CLASSES, **options).eval()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.0)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return made


def images(*size):
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")


def largest_difference(model, made, *size):
    with torch.no_grad():
        expected = made(torch.from_numpy(images(*size).transpose(0, 3, 1, 2).copy()))
    expected = expected.permute(0, 2, 3, 1).numpy()
    return np.abs(np.asarray(model(images(*size))) - expected).max(), np.abs(expected).max()


@pytest.mark.parametrize(
    ("kind", "encoder", "options", "chosen"),
    [
        ("PSPNet", "resnet18", {}, {}),
        ("PSPNet", "resnet50", {"psp_out_channels": 64}, {}),
        ("PSPNet", "resnet18", {"encoder_depth": 4, "upsampling": 16}, {}),
        ("DeepLabV3", "resnet18", {}, {}),
        ("DeepLabV3", "resnet50", {"decoder_channels": 32}, {}),
        ("DeepLabV3", "resnet34", {"decoder_aspp_separable": True}, {}),
        (
            "DeepLabV3",
            "resnet18",
            {"encoder_output_stride": 16, "decoder_atrous_rates": (6, 12, 18)},
            {"output_stride": 16, "dilation_rates": (6, 12, 18)},
        ),
        ("DeepLabV3Plus", "resnet18", {}, {}),
        ("DeepLabV3Plus", "resnet101", {"decoder_channels": 32}, {}),
        ("DeepLabV3Plus", "resnet34", {"encoder_output_stride": 8}, {"output_stride": 8}),
        ("DeepLabV3Plus", "resnet18", {"decoder_aspp_separable": False}, {}),
    ],
)
def test_logits(tmp_path, kind, encoder, options, chosen):
    made = network(kind, encoder, **options)
    torch.save(made.state_dict(), tmp_path / "smp.pth")
    family = kind.lower().replace("plus", "plus")
    model = pdanet_tf.build_model(
        f"{family}_{encoder}",
        CLASSES,
        include_preprocessing=False,
        weights=tmp_path / "smp.pth",
        **chosen,
    )
    for size in ((64, 96), (48, 80)):
        difference, largest = largest_difference(model, made, *size)
        print(kind, encoder, options, size, difference, largest)
        assert difference < TOLERANCE
