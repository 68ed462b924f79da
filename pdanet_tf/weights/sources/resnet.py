"""The names of PyTorch's ResNets: torchvision's, and those of the packages that follow it."""

import re

from pdanet_tf.weights.sources.source import State

_BLOCK = re.compile(r"c(\d)_block(\d+)_(conv|shortcut|average_shortcut)(\d?)/(conv|batch_norm)")
_STEM = re.compile(r"stem_conv(\d)/(conv|batch_norm)")
# Names of models by the depth of the third stage, and whether blocks are bottlenecks.
_NAMES = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50"} | {
    (23, True): "resnet101"
}


def resnet_module(layer: str) -> str | None:
    """Returns torchvision's name of a layer of a ResNet.

    The convolutions of the stems `"deep"`, `"v1c"` and `"v1d"` are called conv1 to conv3, as CSAIL
    does. The convolution of a shortcut that averages is called downsample.1, as in mmsegmentation.

    Args:
        layer: The layer, such as "c2_block1_conv1/conv".

    Returns:
        The name, such as "layer1.0.conv1"; None if it is no layer of a ResNet.
    """
    if match := _STEM.fullmatch(layer):
        index, part = match.groups()
        return f"{'conv' if part == 'conv' else 'bn'}{index}"
    if match := _BLOCK.fullmatch(layer):
        stage, block, branch, index, part = match.groups()
        prefix = f"layer{int(stage) - 1}.{int(block) - 1}"
        if branch == "conv":
            return f"{prefix}.{'conv' if part == 'conv' else 'bn'}{index}"
        first = 1 if branch == "average_shortcut" else 0
        return f"{prefix}.downsample.{first if part == 'conv' else first + 1}"
    return None


def resnet_name(state: State, prefix: str = "") -> str:
    """Returns the name of the ResNet in a checkpoint: `"resnet18"` to `"resnet101"`.

    Args:
        state: The checkpoint.
        prefix: The beginning of the names of its backbone, such as "backbone.".

    Raises:
        ValueError: If it is another network, such as ResNet152, ResNeXt or MobileNet.
    """
    depths = [_depth(state, f"{prefix}layer{stage}.") for stage in range(1, 5)]
    is_bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    name = _NAMES.get((depths[2], is_bottleneck))
    inner = state.get(f"{prefix}layer1.0.conv2.weight")
    if name is None or inner is None or inner.shape[:2] != (64, 64):
        found = f"a ResNet of {depths} blocks" if any(depths) else "another backbone"
        raise ValueError(
            f"its backbone must be ResNet18, 34, 50 or 101 with convolutions without groups, not "
            f"{found}"
        )
    return name


def _depth(state: State, prefix: str) -> int:
    blocks = (name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix))
    return len({block for block in blocks if block.isdigit()})


def resnet_stem(state: State, prefix: str = "") -> str | None:
    """Returns the stem of a ResNet whose first convolution is called conv1.

    Args:
        state: The checkpoint.
        prefix: As for `resnet_name`.

    Returns:
        `"7x7"`, `"deep"`, or None if it has neither.
    """
    kernel = state.get(f"{prefix}conv1.weight")
    if kernel is None or kernel.ndim != 4:
        return None
    if kernel.shape[2:] == (7, 7):
        return "7x7"
    return "deep" if kernel.shape[2:] == (3, 3) and f"{prefix}conv3.weight" in state else None
