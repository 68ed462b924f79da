"""Second implementations, in PyTorch, of networks that were trained with Caffe.

They are written from the published definitions (prototxt files and code), as functions of a state
dict with Caffe's names of the layers. Images are `(batch, 3, height, width)`, blue, green and red,
minus the mean; the results are logits in the same layout.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

State = Mapping[str, Any]  # tensors by name
Shapes = dict[str, tuple[int, ...]]

WIDTHS: dict[int, tuple[int, ...]] = {
    1: (64, 64),
    2: (128, 128),
    3: (256,) * 3,
    4: (512,) * 3,
    5: (512,) * 3,
}
DECODER_WIDTHS = {5: (512, 512, 512), 4: (256, 512, 512), 3: (128, 256, 256), 2: (64, 128)}


def layers(shapes: Mapping[str, tuple[int, int, int]], bias: bool = True) -> Shapes:
    """Returns the shapes of the weights and biases of convolutions: {name: (out, in, side)}."""
    found: Shapes = {}
    for name, (filters, channels, side) in shapes.items():
        found[f"{name}.weight"] = (filters, channels, side, side)
        if bias:
            found[f"{name}.bias"] = (filters,)
    return found


def vgg_shapes() -> dict[str, tuple[int, int, int]]:
    shapes: dict[str, tuple[int, int, int]] = {}
    channels = 3
    for block, widths in WIDTHS.items():
        for index, width in enumerate(widths, start=1):
            shapes[f"conv{block}_{index}"] = (width, channels, 3)
            channels = width
    return shapes


def conv(state: State, name: str, x: Any, **options: Any) -> Any:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def conv_relu(state: State, name: str, x: Any, **options: Any) -> Any:
    return F.relu(conv(state, name, x, **options))


# Long et al.: voc-fcn32s, voc-fcn16s, voc-fcn8s and voc-fcn8s-atonce, net.py


def fcn_shapes(num_classes: int, skips: Sequence[int]) -> Shapes:
    heads = {"fc6": (4096, 512, 7), "fc7": (4096, 4096, 1), "score_fr": (num_classes, 4096, 1)}
    heads |= {f"score_pool{skip}": (num_classes, WIDTHS[skip][0], 1) for skip in skips}
    return layers({**vgg_shapes(), **heads})


def upsample(x: Any, stride: int) -> Any:
    """Returns a transposed convolution with Caffe's bilinear filler."""
    side = 2 * stride
    taps = 1 - (torch.arange(side) / stride - (2 * stride - 1) / (2 * stride)).abs()
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, side, side)
    return F.conv_transpose2d(x, kernel, stride=stride, groups=x.shape[1])


def crop(x: Any, like: Any, offset: int) -> Any:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def fcn(state: State, image: Any, skips: Sequence[int], at_once: bool = False) -> Any:
    x, pools = image, dict[int, Any]()
    for block, widths in WIDTHS.items():
        for index in range(1, len(widths) + 1):
            padding = 100 if (block, index) == (1, 1) else 1
            x = conv_relu(state, f"conv{block}_{index}", x, padding=padding)
        x = pools[block] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = conv_relu(state, "fc6", x)
    x = conv(state, "score_fr", conv_relu(state, "fc7", x))
    for skip in skips:
        x = upsample(x, 2)
        scale = {4: 0.01, 3: 0.0001}[skip] if at_once else 1
        x = x + crop(conv(state, f"score_pool{skip}", pools[skip] * scale), x, {4: 5, 3: 9}[skip])
    stride, offset = {0: (32, 19), 1: (16, 27), 2: (8, 31)}[len(skips)]
    return crop(upsample(x, stride), image, offset)


# Yu and Koltun: dilation7_kitti, dilation8_camvid, dilation8_pascal_voc, dilation10_cityscapes

CONTEXTS: dict[int | None, tuple[int, ...]] = {
    None: (),
    7: (2, 4, 8),
    8: (2, 4, 8, 16),
    10: (2, 4, 8, 16, 32, 64),
}


def dilation_shapes(num_classes: int, context: int | None, large: bool = False) -> Shapes:
    heads = {"fc6": (4096, 512, 7), "fc7": (4096, 4096, 1), "final": (num_classes, 4096, 1)}
    if context is not None:
        channels = num_classes
        names = ["conv1_1", "conv1_2"]
        names += [f"conv{index}_1" for index in range(2, len(CONTEXTS[context]) + 2)]
        widths = (2, 2, 4, 8, 16, 32) if large else (1,) * len(names)
        for name, width in zip((*names, "fc1"), (*widths, widths[-1]), strict=True):
            heads[f"ctx_{name}"] = (width * num_classes, channels, 3)
            channels = width * num_classes
        heads["ctx_final"] = (num_classes, channels, 1)
    return layers({**vgg_shapes(), **heads})


def dilation(state: State, tile: Any, context: int | None, large: bool = False) -> Any:
    """Applies the network to an image with its margin of 186 pixels; returns scores at 1/8."""
    x = tile
    for block, widths in WIDTHS.items():
        for index in range(1, len(widths) + 1):
            dilation = 2 if block == 5 else 1
            x = conv_relu(state, f"conv{block}_{index}", x, dilation=dilation)
        if block < 4:
            x = F.max_pool2d(x, 2, 2)
    x = conv_relu(state, "fc7", conv_relu(state, "fc6", x, dilation=4))
    x = conv(state, "final", x)
    if context is None:
        return x
    once = large
    x = conv_relu(state, "ctx_conv1_1", x, padding=33 if once else 1)
    x = conv_relu(state, "ctx_conv1_2", x, padding=0 if once else 1)
    for index, rate in enumerate(CONTEXTS[context], start=2):
        padding = 0 if once else rate
        x = conv_relu(state, f"ctx_conv{index}_1", x, padding=padding, dilation=rate)
    x = conv_relu(state, "ctx_fc1", x, padding=0 if once else 1)
    return conv(state, "ctx_final", x)


# Chen et al.: DeepLab-LargeFOV, and DeepLab v2 on VGG16


def deeplab_shapes(num_classes: int, branches: Sequence[str]) -> Shapes:
    """`branches` are the endings of the names: ("",) for LargeFOV."""
    heads = {}
    for branch in branches:
        heads[f"fc6{branch}"] = (1024, 512, 3)
        heads[f"fc7{branch}"] = (1024, 1024, 1)
        heads[f"fc8_voc12{branch}"] = (num_classes, 1024, 1)
    return layers({**vgg_shapes(), **heads})


def deeplab(state: State, image: Any, branches: Mapping[str, int]) -> Any:
    """Returns logits at the size 8 n + 1 of the image; `branches` maps endings to rates."""
    x = image
    for block, widths in WIDTHS.items():
        rate = 2 if block == 5 else 1
        for index in range(1, len(widths) + 1):
            x = conv_relu(state, f"conv{block}_{index}", x, padding=rate, dilation=rate)
        x = F.max_pool2d(x, 3, 2 if block < 4 else 1, padding=1, ceil_mode=True)
    if "" in branches:  # LargeFOV
        x = F.avg_pool2d(x, 3, 1, padding=1)
    total = 0
    for branch, rate in branches.items():
        hidden = conv_relu(state, f"fc6{branch}", x, padding=rate, dilation=rate)
        total = total + conv(state, f"fc8_voc12{branch}", conv_relu(state, f"fc7{branch}", hidden))
    return F.interpolate(total, image.shape[2:], mode="bilinear", align_corners=True)


# Chen et al.: DeepLab v2 on ResNet101, as in kazuto1011/deeplab-pytorch


def resnet_shapes(num_classes: int) -> Shapes:
    convs = {"layer1.conv1": (64, 3, 7)}
    channels = 64
    for level, (depth, width) in enumerate(((3, 64), (4, 128), (23, 256), (3, 512)), start=2):
        for block in range(1, depth + 1):
            name = f"layer{level}.block{block}"
            convs[f"{name}.reduce"] = (width, channels, 1)
            convs[f"{name}.conv3x3"] = (width, width, 3)
            convs[f"{name}.increase"] = (4 * width, width, 1)
            if block == 1:
                convs[f"{name}.shortcut"] = (4 * width, channels, 1)
            channels = 4 * width
    shapes: Shapes = {}
    for name, (filters, inputs, side) in convs.items():
        shapes[f"base.{name}.conv.weight"] = (filters, inputs, side, side)
        for variable in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"base.{name}.bn.{variable}"] = (filters,)
    aspp = layers({f"base.aspp.c{index}": (num_classes, 2048, 3) for index in range(4)})
    return {**shapes, **aspp}


def deeplabv2_base(state: State, x: Any) -> Any:
    def unit(name: str, x: Any, **options: Any) -> Any:
        x = conv(state, f"base.{name}.conv", x, **options)
        norm = [state[f"base.{name}.bn.{each}"] for each in ("running_mean", "running_var")]
        affine = [state[f"base.{name}.bn.{each}"] for each in ("weight", "bias")]
        return F.batch_norm(x, norm[0], norm[1], affine[0], affine[1], eps=1e-5)

    x = F.relu(unit("layer1.conv1", x, stride=2, padding=3))
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    levels = ((3, 1, 1), (4, 2, 1), (23, 1, 2), (3, 1, 4))
    for level, (depth, first_stride, rate) in enumerate(levels, start=2):
        for block in range(1, depth + 1):
            name, stride = f"layer{level}.block{block}", first_stride if block == 1 else 1
            h = F.relu(unit(f"{name}.reduce", x, stride=stride))
            h = F.relu(unit(f"{name}.conv3x3", h, padding=rate, dilation=rate))
            h = unit(f"{name}.increase", h)
            x = F.relu(h + (unit(f"{name}.shortcut", x, stride=stride) if block == 1 else x))
    rates = (6, 12, 18, 24)
    return sum(
        conv(state, f"base.aspp.c{index}", x, padding=rate, dilation=rate)
        for index, rate in enumerate(rates)
    )


def deeplabv2(state: State, image: Any, scales: Sequence[float] = (0.5, 0.75)) -> Any:
    scores = deeplabv2_base(state, image)
    for scale in scales:
        smaller = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
        found = F.interpolate(
            deeplabv2_base(state, smaller), scores.shape[2:], mode="bilinear", align_corners=False
        )
        scores = torch.maximum(scores, found)
    return F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=False)


# Badrinarayanan et al.: segnet_train.prototxt and segnet_basic_train.prototxt


def segnet_shapes(num_classes: int) -> Shapes:
    convs = vgg_shapes()
    channels = 512
    for block, widths in DECODER_WIDTHS.items():
        for index in range(len(widths), 0, -1):
            convs[f"conv{block}_{index}_D"] = (widths[index - 1], channels, 3)
            channels = widths[index - 1]
    convs["conv1_2_D"] = (64, 64, 3)
    return _with_norms(convs, {"conv1_1_D": (num_classes, 64, 3)})


def segnet_basic_shapes(num_classes: int) -> Shapes:
    convs = {f"conv{block}": (64, 64 if block > 1 else 3, 7) for block in range(1, 5)}
    convs |= {f"conv_decode{block}": (64, 64, 7) for block in range(4, 0, -1)}
    return _with_norms(convs, {"conv_classifier": (num_classes, 64, 1)})


def _with_norms(
    convs: Mapping[str, tuple[int, int, int]], classifier: Mapping[str, tuple[int, int, int]]
) -> Shapes:
    shapes: Shapes = {**layers(convs), **layers(classifier)}
    for name, (filters, _, _) in convs.items():
        for variable in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}_bn.{variable}"] = (filters,)
    return shapes


def _norm(state: State, name: str, x: Any) -> Any:
    averages = [state[f"{name}_bn.{each}"] for each in ("running_mean", "running_var")]
    affine = [state[f"{name}_bn.{each}"] for each in ("weight", "bias")]
    return F.batch_norm(x, averages[0], averages[1], affine[0], affine[1], eps=1e-5)


def segnet(state: State, image: Any) -> Any:
    x, unpooling = image, dict[int, Any]()
    for block, widths in WIDTHS.items():
        for index in range(1, len(widths) + 1):
            name = f"conv{block}_{index}"
            x = F.relu(_norm(state, name, conv(state, name, x, padding=1)))
        size = x.shape[2:]
        x, places = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        unpooling[block] = places, size
    for block in range(5, 0, -1):
        places, size = unpooling[block]
        x = F.max_unpool2d(x, places, 2, 2, output_size=size)
        for index in range(len(WIDTHS[block]), 0, -1):
            name = f"conv{block}_{index}_D"
            x = conv(state, name, x, padding=1)
            if name != "conv1_1_D":
                x = F.relu(_norm(state, name, x))
    return x


def segnet_basic(state: State, image: Any) -> Any:
    x = F.local_response_norm(image, 5, alpha=1e-4, beta=0.75, k=1.0)
    unpooling: dict[int, Any] = {}
    for block in range(1, 5):
        x = F.relu(_norm(state, f"conv{block}", conv(state, f"conv{block}", x, padding=3)))
        size = x.shape[2:]
        x, places = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        unpooling[block] = places, size
    for block in range(4, 0, -1):
        places, size = unpooling[block]
        x = F.max_unpool2d(x, places, 2, 2, output_size=size)
        name = f"conv_decode{block}"
        x = _norm(state, name, conv(state, name, x, padding=3))
    return conv(state, "conv_classifier", x)
