"""Networks that were trained with Caffe: which model a checkpoint holds, by names and shapes."""

import numpy as np
import pytest

from pdanet_tf.weights.sources.checkpoint import SOURCES, recognise, require_architecture

pytest.importorskip("torch", reason="the second implementations are in PyTorch")
networks = pytest.importorskip("tests.support.caffe_networks")


def blank(shapes):
    """Returns arrays of zeros that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def bilinear(classes, stride):
    taps = 1 - np.abs(np.arange(2 * stride) - stride + 0.5) / stride
    kernel = np.zeros((classes, classes, 2 * stride, 2 * stride), "float32")
    kernel[range(classes), range(classes)] = np.outer(taps, taps)
    return kernel


FCN8S = {
    **blank(networks.fcn_shapes(21, (4, 3))),
    "upscore2.weight": bilinear(21, 2),
    "upscore_pool4.weight": bilinear(21, 2),
    "upscore8.weight": bilinear(21, 8),
}
BRANCHES = ("_1", "_2", "_3", "_4")
PASCAL = {
    name.replace("ctx_", "ct_").replace("final.", "fc-final.", name.startswith("final.")): array
    for name, array in blank(networks.dilation_shapes(21, 8, large=True)).items()
}
DEEPLAB = blank(networks.resnet_shapes(21))
# The names of the first version of the package.
OLD = {
    name.replace("base.aspp.", "base.aspp.stages.")
    .replace("base.", "scale.")
    .replace(".shortcut.", ".proj."): array
    for name, array in DEEPLAB.items()
}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (blank(networks.fcn_shapes(21, ())), "'fcn32s_vgg16', num_classes=21"),
        (blank(networks.fcn_shapes(33, (4,))), "'fcn16s_vgg16', num_classes=33"),
        (FCN8S, "'fcn8s_vgg16', num_classes=21"),
        (blank(networks.dilation_shapes(21, None)), "'dilation_frontend_vgg16', num_classes=21"),
        (blank(networks.dilation_shapes(11, 8)), "'dilation_basic_vgg16', num_classes=11"),
        (blank(networks.dilation_shapes(11, 7)), "'dilation_basic_vgg16', num_classes=11"),
        (blank(networks.dilation_shapes(19, 10)), "'dilation_basic_vgg16', num_classes=19"),
        (PASCAL, "'dilation_large_vgg16', num_classes=21"),
        (blank(networks.deeplab_shapes(21, ("",))), "'deeplab_largefov_vgg16', num_classes=21"),
        (blank(networks.deeplab_shapes(21, BRANCHES)), "'deeplabv2_vgg16', num_classes=21"),
        (blank(networks.segnet_shapes(12)), "'segnet_vgg16', num_classes=12"),
        (blank(networks.segnet_basic_shapes(11)), "'segnet_basic', num_classes=11"),
        (DEEPLAB, "'deeplabv2_resnet101', num_classes=21"),
        (OLD, "'deeplabv2_resnet101', num_classes=21"),
    ],
)
def test_the_model_is_found(state, expected):
    checkpoint = recognise(state, "file.pth")
    found = require_architecture(checkpoint)
    assert f"{found.model!r}, num_classes={found.num_classes}" == expected
    assert (found.variant, found.normalization) == ("published", "caffe")
    recognising = [each for each in SOURCES if each.recognises(each.prepare(state))]
    assert recognising == [checkpoint.source]


@pytest.mark.parametrize(
    ("layers", "options"), [(7, {"context_layers": 7}), (8, {}), (10, {"context_layers": 10})]
)
def test_the_layers_of_a_context_module(layers, options):
    checkpoint = recognise(blank(networks.dilation_shapes(11, layers)), "file.pth")
    assert checkpoint.architecture.options == options


def test_a_network_at_one_scale():
    """isht7's network has torchvision's names; its maximum over scales resizes in another way."""
    state = blank({f"Scale.layer5.conv2d_list.{i}.weight": (21, 2048, 3, 3) for i in range(4)})
    for layer, depth in enumerate((3, 4, 23, 3), start=1):
        for block in range(depth):
            for conv, side in ((1, 1), (2, 3), (3, 1)):
                name = f"Scale.layer{layer}.{block}.conv{conv}.weight"
                state[name] = np.broadcast_to(np.float32(0), (64, 64, side, side))
    checkpoint = recognise(state, "file.pth")
    assert checkpoint.source.title == "isht7's pytorch-deeplab-resnet"
    assert checkpoint.architecture.options == {"scales": ()}
    assert checkpoint.architecture.num_classes == 21


def without(state, *beginnings):
    return {name: array for name, array in state.items() if not name.startswith(beginnings)}


LARGEFOV = blank(networks.deeplab_shapes(21, ("",)))
CONTEXT = blank(networks.dilation_shapes(11, 8))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {**FCN8S, "upscore2.weight": FCN8S["upscore2.weight"] + 0.01},
            "transposed convolution upscore2 is not bilinear",
        ),
        (without(FCN8S, "conv1_1"), "only those on VGG16 are here"),
        (without(FCN8S, "score_pool4"), "scores of pool3, but not those of pool4"),
        (
            {"score_fr_sem.weight": np.zeros(1), "score_fr_geo.weight": np.zeros(1)},
            "SIFT Flow, with a second head",
        ),
        (without(CONTEXT, "conv"), "only whole networks are here"),
        (without(CONTEXT, "ctx_conv4", "ctx_conv5"), "This one has 3 blocks, and 1 channels"),
        (
            {
                **blank(networks.deeplab_shapes(21, ("",))),
                "fc6.weight": np.zeros((4096, 512, 4, 4)),
            },
            r"the kernel of fc6 has the shape \(4096, 512, 4, 4\)",
        ),
        (without(DEEPLAB, "base.aspp"), "only DeepLab v2 on ResNet101 is here"),
        (without(DEEPLAB, "base.layer4.block23"), "only DeepLab v2 on ResNet101 is here"),
    ],
)
def test_what_cannot_be_equal_is_refused(state, message):
    with pytest.raises(ValueError, match=rf"(?s)file\.pth is a checkpoint of .*{message}"):
        require_architecture(recognise(state, "file.pth"))
