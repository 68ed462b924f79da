"""Checkpoints that the reference's own package (mit-semseg) writes, and its outputs."""

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf import cli
from pdanet_tf.weights.torch import load_torch_backbone, load_torch_state_dict, read_torch_file

torch = pytest.importorskip("torch", reason="reading .pth files needs the extra 'torch'")
models = pytest.importorskip("mit_semseg.models", reason="needs the package mit-semseg")
pytestmark = pytest.mark.extra

CLASSES = 7
CHANNELS = {"mobilenetv2": 320, "resnet18": 512, "resnet50": 2048, "resnet101": 2048}
FAMILIES = {"c1": "fcn", "ppm": "pspnet", "upernet": "upernet"}


@pytest.fixture
def build(tmp_path):
    """Builds a network of the reference with random weights and statistics."""

    def build(encoder, decoder):
        torch.manual_seed(0)
        # The builder downloads weights if it gets none.
        weights = tmp_path / "imagenet.pth"
        module = models.models.mobilenet if encoder == "mobilenetv2" else models.models.resnet
        torch.save(getattr(module, encoder)().state_dict(), weights)
        name = encoder if decoder == "upernet" else f"{encoder}dilated"
        network = models.SegmentationModule(
            models.ModelBuilder.build_encoder(name, weights=str(weights)),
            models.ModelBuilder.build_decoder(decoder, CHANNELS[encoder], CLASSES),
            torch.nn.NLLLoss(weight=torch.rand(CLASSES), ignore_index=-1),
        ).eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d | models.models.BatchNorm2d):
                    module.weight.uniform_(0.5, 1.0)
                    module.bias.normal_(0, 0.1)
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
        return network

    return build


@pytest.fixture
def save(tmp_path):
    def save(content, name, **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def build_ours(encoder, decoder, **options):
    family, _, aux_head = decoder.partition("_")
    return pdanet_tf.build_model(
        f"{FAMILIES[family]}_{encoder}",
        CLASSES,
        include_preprocessing=False,
        aux_head=bool(aux_head),
        **{"upsample": False, **options},
    )


def images(*size):
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")


def assert_same_outputs(model, network):
    """Compares log-probabilities, also those of deep supervision.

    Those of ResNet101 with random weights reach -40, and rounding is relative.
    """
    for size in ((64, 96), (41, 57), (33, 130)):
        with torch.no_grad():
            pixels = torch.from_numpy(images(*size).transpose(0, 3, 1, 2).copy())
            expected = network.decoder(network.encoder(pixels, return_feature_maps=True))
        found = model(images(*size))
        found = list(found.values()) if isinstance(found, dict) else [found]
        expected = expected if isinstance(expected, tuple) else [expected]
        for logits, wanted in zip(found, expected[: len(found)], strict=True):
            logits = torch.log_softmax(torch.from_numpy(np.array(logits)), dim=-1)
            wanted = wanted.numpy().transpose(0, 2, 3, 1)
            difference = np.abs(logits.numpy() - wanted).max()
            assert difference < 5e-6 * max(4, np.abs(wanted).max())


@pytest.mark.parametrize(
    ("encoder", "decoder", "new_format"),
    [
        ("resnet18", "c1", True),
        ("resnet18", "c1_deepsup", False),
        ("resnet18", "ppm", False),
        ("resnet18", "ppm_deepsup", True),
        ("mobilenetv2", "c1_deepsup", True),
        ("mobilenetv2", "ppm_deepsup", True),
        ("resnet50", "c1", False),
        ("resnet50", "c1_deepsup", True),
        ("resnet50", "ppm", True),
        ("resnet50", "ppm_deepsup", True),
        ("resnet50", "upernet", True),
        pytest.param("resnet101", "c1_deepsup", True, marks=pytest.mark.slow),
        pytest.param("resnet101", "ppm_deepsup", True, marks=pytest.mark.slow),
        pytest.param("resnet101", "upernet", False, marks=pytest.mark.slow),
    ],
)
def test_files_of_the_reference(build, save, encoder, decoder, new_format):
    network = build(encoder, decoder)
    files = [
        save(part.state_dict(), name, _use_new_zipfile_serialization=new_format)
        for part, name in ((network.encoder, "encoder.pth"), (network.decoder, "decoder.pth"))
    ]
    model = build_ours(encoder, decoder)
    unused = load_torch_state_dict(model, *map(read_torch_file, files))
    assert_same_outputs(model, network)
    assert {name.rpartition(".")[2] for name in unused} == {
        "num_batches_tracked",
        "_tmp_running_mean",
        "_tmp_running_var",
        "_running_iter",
    }
    if decoder.endswith("_deepsup"):
        without = build_ours(encoder, decoder.removesuffix("_deepsup"))
        unused = load_torch_state_dict(without, *map(read_torch_file, files))
        assert "decoder.conv_last_deepsup.weight" in unused
        assert_same_outputs(without, network)


@pytest.mark.parametrize("decoder", ["c1", "upernet"])
@pytest.mark.parametrize("size", [(64, 96), (41, 57)])
def test_probabilities_of_the_image(build, decoder, size):
    """The reference stretches the logits of all of its models over the image."""
    network = build("resnet50", decoder)
    model = build_ours("resnet50", decoder, upsample=True)
    parts = (network.encoder, network.decoder)
    load_torch_state_dict(model, *(part.state_dict() for part in parts))
    network.decoder.use_softmax = True
    with torch.no_grad():
        pixels = torch.from_numpy(images(*size).transpose(0, 3, 1, 2).copy())
        maps = network.encoder(pixels, return_feature_maps=True)
        expected = network.decoder(maps, segSize=size).numpy().transpose(0, 2, 3, 1)
    found = torch.softmax(torch.from_numpy(np.array(model(images(*size)))), dim=-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_wrapped_files(build, save):
    network = build("resnet18", "ppm_deepsup")
    parallel = torch.nn.DataParallel(network)
    parts = [torch.nn.DataParallel(part) for part in (network.encoder, network.decoder)]
    encoder, decoder = (part.state_dict() for part in parts)
    assert all(name.startswith("module.encoder.") for name in list(parallel.state_dict())[:9])
    tidy = {"epoch": 20, "optimizer": {"lr": 0.02}}
    for index, files in enumerate(
        (
            (encoder, decoder),
            ({"state_dict": encoder, **tidy}, {"state_dict": decoder, **tidy}),
            ({"encoder": encoder, "decoder": decoder, **tidy},),
            ({"model": parallel.state_dict(), **tidy},),
            (network.state_dict(),),
        )
    ):
        model = build_ours("resnet18", "ppm_deepsup")
        paths = [save(file, f"{index}_{part}.pth") for part, file in enumerate(files)]
        load_torch_state_dict(model, *map(read_torch_file, paths))
        assert_same_outputs(model, network)
    backbone = pdanet_tf.backbones.resnet18()
    load_torch_backbone(backbone, read_torch_file(paths[0]))
    kernel = backbone.get_layer("stem_conv2").conv.kernel
    wanted = network.encoder.conv2.weight.detach().numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, wanted)


def test_convert(build, save, tmp_path, capsys):
    network = build("resnet18", "c1_deepsup")
    files = [
        f"--{name}={save(part.state_dict(), f'{name}.pth')}"
        for name, part in (("encoder", network.encoder), ("decoder", network.decoder))
    ]
    output = tmp_path / "converted.keras"
    command = ["convert", *files, "--model=fcn_resnet18", f"--num-classes={CLASSES}"]
    assert cli.main([*command, f"--output={output}"]) == 0
    assert "_tmp_running_mean (25)" in capsys.readouterr().out
    model = build_ours("resnet18", "c1_deepsup", weights=output)
    assert_same_outputs(model, network)
