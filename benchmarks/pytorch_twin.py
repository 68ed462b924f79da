"""PDANet, PSPNet and DANet on the dilated ResNet18 in PyTorch: the baseline of the benchmarks.

Written from the published architecture without optimisations. Modules have the names of the
reference's checkpoints, so that `pdanet_tf.convert.load_torch_state_dict` can load the weights.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOL_SCALES = (1, 2, 3, 6)
DROPOUT = 0.1


def conv(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Returns a convolution without bias, padded so that only the stride changes the size."""
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


def conv_batch_norm(inputs: int, outputs: int, size: int) -> list[nn.Module]:
    """Returns a convolution, batch norm and ReLU."""
    return [conv(inputs, outputs, size), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, first_dilation: int, dilation: int
    ) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, first_dilation)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Convolves twice and adds the shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return F.relu(x, inplace=True)


class DilatedResNet18(nn.Module):
    """ResNet18 with the deep stem, at output stride 8."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for number, (outputs, stride) in enumerate(((64, 2), (64, 1), (128, 1)), start=1):
            setattr(self, f"conv{number}", conv(channels, outputs, 3, stride))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs))
            channels = outputs
        stages = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
        for number, (outputs, stride, dilation) in enumerate(stages, start=1):
            first = BasicBlock(channels, outputs, stride, max(1, dilation // 2), dilation)
            second = BasicBlock(outputs, outputs, 1, dilation, dilation)
            setattr(self, f"layer{number}", nn.Sequential(first, second))
            channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features of the last stage, at 1/8."""
        for number in (1, 2, 3):
            normalize = getattr(self, f"bn{number}")
            x = F.relu(normalize(getattr(self, f"conv{number}")(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
        return x


class PositionAttention(nn.Module):
    """Attention of every position over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attends over all positions."""
        query, key, value = (
            projection(x).flatten(2)
            for projection in (self.query_conv, self.key_conv, self.value_conv)
        )
        attention = torch.softmax(torch.bmm(query.transpose(1, 2), key), dim=-1)
        return self.gamma * torch.bmm(value, attention.transpose(1, 2)).view_as(x) + x


class ChannelAttention(nn.Module):
    """Attention of every channel over all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attends over all channels; dissimilar channels get the largest weights."""
        features = x.flatten(2)
        energy = torch.bmm(features, features.transpose(1, 2))
        attention = torch.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1)
        return self.gamma * torch.bmm(attention, features).view_as(x) + x


class DualAttention(nn.Module):
    """Position and channel attention in parallel, summed and projected."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        narrow = inputs // 4
        self.conv5a = nn.Sequential(*conv_batch_norm(inputs, narrow, 3))
        self.sa = PositionAttention(narrow)
        self.conv51 = nn.Sequential(*conv_batch_norm(narrow, narrow, 3))
        self.conv5c = nn.Sequential(*conv_batch_norm(inputs, narrow, 3))
        self.sc = ChannelAttention()
        self.conv52 = nn.Sequential(*conv_batch_norm(narrow, narrow, 3))
        self.conv8 = nn.Sequential(nn.Dropout2d(DROPOUT), nn.Conv2d(narrow, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Attends in both branches, sums and projects."""
        position = self.conv51(self.sa(self.conv5a(x)))
        return self.conv8(position + self.conv52(self.sc(self.conv5c(x))))


class PyramidHead(nn.Module):
    """Pools at several scales, transforms and upsamples each, fuses and classifies them."""

    def __init__(self, transforms: Sequence[Sequence[nn.Module]], num_classes: int) -> None:
        super().__init__()
        self.ppm = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), *transform)
            for scale, transform in zip(POOL_SCALES, transforms, strict=True)
        )
        self.conv_last = nn.Sequential(
            *conv_batch_norm(512 + len(POOL_SCALES) * 512, 512, 3),
            nn.Dropout2d(DROPOUT),
            nn.Conv2d(512, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits at 1/8."""
        size = x.shape[2:]
        levels = [F.interpolate(level(x), size, mode="bilinear") for level in self.ppm]
        return self.conv_last(torch.cat([x, *levels], dim=1))


def pspnet_head(num_classes: int) -> nn.Module:
    """PSPNet: a 1 x 1 convolution at each scale."""
    return PyramidHead([conv_batch_norm(512, 512, 1) for _ in POOL_SCALES], num_classes)


def pdanet_head(num_classes: int) -> nn.Module:
    """PDANet: dual attention at each scale."""
    transforms = [
        (DualAttention(512, 512), nn.BatchNorm2d(512), nn.ReLU(inplace=True)) for _ in POOL_SCALES
    ]
    return PyramidHead(transforms, num_classes)


def danet_head(num_classes: int) -> nn.Module:
    """DANet: dual attention from the features to the classes."""
    return nn.Sequential(OrderedDict(dam=nn.Sequential(DualAttention(512, num_classes))))


HEADS = {
    "pdanet_resnet18": pdanet_head,
    "pspnet_resnet18": pspnet_head,
    "danet_resnet18": danet_head,
}


class Twin(nn.Module):
    """A model from normalised images `(batch, 3, height, width)` to logits at 1/8."""

    def __init__(self, name: str, num_classes: int = 150) -> None:
        super().__init__()
        self.encoder = DilatedResNet18()
        self.decoder = HEADS[name](num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits, `(batch, num_classes, height / 8, width / 8)`."""
        return self.decoder(self.encoder(x))
