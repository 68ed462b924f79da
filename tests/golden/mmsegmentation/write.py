"""Writes the golden values of mmsegmentation: `python -m tests.golden.mmsegmentation.write`.

Arguments are names of cases; by default it writes all.
It requires mmsegmentation 1.2.2, mmengine 0.10.7, mmcv-lite 2.2.0, ftfy and PyTorch, in an
environment of their own. The networks are built from the configurations that the package contains.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import mmcv
import numpy as np
import torch

from tests.support.state_dict import draw

# mmsegmentation 1.2.2 accepts mmcv below 2.2.0, and imports compiled operators that these networks
# do not use and mmcv-lite does not contain.
mmcv.__version__ = "2.1.0"
sys.modules["mmcv.ops"] = mock.MagicMock()

import mmseg.models  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

FOLDER = Path(__file__).parent
CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs" / "_base_" / "models"
CLASSES = 3
SIZES = ((33, 45), (64, 48))
STEP = 3  # of the stored logits, in rows and columns

RESNET18 = {
    "backbone": {"depth": 18},
    "decode_head": {"in_channels": 512, "channels": 128},
    "auxiliary_head": {"in_channels": 256, "channels": 64},
}
V1B, V1D = {"backbone": {"type": "ResNet"}}, {"backbone": {"type": "ResNetV1d"}}
D16 = {
    "backbone": {"dilations": (1, 1, 1, 2), "strides": (1, 2, 2, 1)},
    "decode_head": {"dilations": (1, 6, 12, 18)},
}
DETAIL18 = {"decode_head": {"c1_in_channels": 64, "c1_channels": 12}}
UPERNET18 = {
    "decode_head": {"in_channels": [64, 128, 256, 512]},
    "auxiliary_head": {"in_channels": 256},
}
CASES = {
    "fcn_resnet18_v1c": ("fcn_r50-d8", RESNET18),
    "fcn_resnet50_v1d": ("fcn_r50-d8", V1D),
    "pspnet_resnet18_v1d": ("pspnet_r50-d8", RESNET18, V1D),
    "pspnet_resnet50_v1c": ("pspnet_r50-d8",),
    "pspnet_resnet101_v1c": ("pspnet_r50-d8", {"backbone": {"depth": 101}}),
    "danet_resnet18_v1c": ("danet_r50-d8", RESNET18),
    "danet_resnet50_v1c": ("danet_r50-d8",),
    "deeplabv3_resnet18_7x7": ("deeplabv3_r50-d8", RESNET18, V1B),
    "deeplabv3_resnet50_v1c_d16": ("deeplabv3_r50-d8", D16),
    "deeplabv3plus_resnet18_v1c": ("deeplabv3plus_r50-d8", RESNET18, DETAIL18),
    "deeplabv3plus_resnet50_v1c": ("deeplabv3plus_r50-d8",),
    "deeplabv3plus_resnet50_v1d_d16": ("deeplabv3plus_r50-d8", D16, V1D),
    "upernet_resnet18_v1c": ("upernet_r50", {"backbone": {"depth": 18}}, UPERNET18),
    "upernet_resnet50_v1d": ("upernet_r50", V1D),
}


def build(base, *changes):
    """Builds a network of the package from one of its configurations, with changes to it."""
    config = Config.fromfile(str(CONFIGS / f"{base}.py"))
    norm = {"type": "BN"}
    common = {
        "backbone": {"norm_cfg": norm},
        "decode_head": {"norm_cfg": norm, "num_classes": CLASSES},
        "auxiliary_head": {"norm_cfg": norm, "num_classes": CLASSES},
    }
    for change in (common, *changes):
        for part, values in change.items():
            config.model[part].update(values)
    config.model.pretrained = None
    return MODELS.build(config.model).eval()


def write(name, base, *changes):
    """Writes the names and shapes of a network's weights, and its logits."""
    network = build(base, *changes)
    shapes = {
        key: list(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    weights = {key: torch.from_numpy(np.array(value)) for key, value in draw(shapes).items()}
    problems = network.load_state_dict(weights, strict=False)
    assert not problems.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in problems.missing_keys)
    arrays = {}
    for height, width in SIZES:
        images = np.random.default_rng(height).standard_normal((1, height, width, 3))
        pixels = torch.from_numpy(images.astype("float32").transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            metas = [{"img_shape": (height, width)}]
            logits = network.encode_decode(pixels, metas)
            inner = network.auxiliary_head.forward(network.extract_feat(pixels))
            inner = network.auxiliary_head.predict_by_feat(inner, metas)
        for key, values in (("logits", logits), ("aux_logits", inner)):
            stored = values.permute(0, 2, 3, 1)[:, ::STEP, ::STEP].numpy()
            arrays[f"{key}_{height}x{width}"] = stored
            print(name, key, height, width, stored.shape, f"largest {np.abs(stored).max():.1f}")
    np.savez_compressed(FOLDER / f"{name}.npz", shapes=json.dumps(shapes), **arrays)


if __name__ == "__main__":
    init_default_scope("mmseg")
    for case in sys.argv[1:] or CASES:
        write(case, *CASES[case])
