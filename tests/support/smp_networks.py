"""Networks of segmentation_models.pytorch with drawn weights, to compare ours with."""

from typing import Any

import numpy as np

from tests.support.state_dict import draw

CLASSES = 3
STEP = 3  # of the stored logits, in rows and columns
SIZES = ((32, 48), (64, 48))  # the package takes only multiples of the output stride
# By name: the class, the encoder, options of the package, and what users tell `build_model`.
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "pspnet_resnet18": ("PSPNet", "resnet18", {}, {}),
    "pspnet_resnet50": ("PSPNet", "resnet50", {"psp_out_channels": 64}, {}),
    "pspnet_resnet34_depth4": ("PSPNet", "resnet34", {"encoder_depth": 4, "upsampling": 16}, {}),
    "deeplabv3_resnet18": ("DeepLabV3", "resnet18", {}, {}),
    "deeplabv3_resnet50": ("DeepLabV3", "resnet50", {"decoder_channels": 32}, {}),
    "deeplabv3_resnet34_separable": ("DeepLabV3", "resnet34", {"decoder_aspp_separable": True}, {}),
    "deeplabv3_resnet18_os16": (
        "DeepLabV3",
        "resnet18",
        {"encoder_output_stride": 16, "decoder_atrous_rates": (6, 12, 18)},
        {"output_stride": 16, "dilation_rates": (6, 12, 18)},
    ),
    "deeplabv3plus_resnet18": ("DeepLabV3Plus", "resnet18", {}, {}),
    "deeplabv3plus_resnet50": ("DeepLabV3Plus", "resnet50", {"decoder_channels": 32}, {}),
    "deeplabv3plus_resnet101": ("DeepLabV3Plus", "resnet101", {"decoder_channels": 32}, {}),
    "deeplabv3plus_resnet18_os8": (
        "DeepLabV3Plus",
        "resnet18",
        {"encoder_output_stride": 8},
        {"output_stride": 8},
    ),
    "deeplabv3plus_resnet18_dense": (
        "DeepLabV3Plus",
        "resnet18",
        {"decoder_aspp_separable": False},
        {},
    ),
}


def network(package: Any, name: str) -> Any:
    """Returns a network of `CASES` with weights and statistics drawn from their names."""
    import torch

    kind, encoder, options, _ = CASES[name]
    made = getattr(package, kind)(encoder, encoder_weights=None, classes=CLASSES, **options)
    shapes = shapes_of(made)
    weights = {key: torch.from_numpy(np.array(value)) for key, value in draw(shapes).items()}
    made.load_state_dict({**made.state_dict(), **weights})
    return made.eval()


def shapes_of(made: Any) -> dict[str, list[int]]:
    """Returns the shapes of a network's weights and statistics, by name."""
    return {
        key: list(value.shape)
        for key, value in made.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def images(height: int, width: int) -> np.ndarray:
    """Returns normalised images `(1, height, width, 3)`."""
    drawn = np.random.default_rng(height).standard_normal((1, height, width, 3))
    return drawn.astype("float32")
