"""The reference's models, rebuilt with the weights that the golden values were computed with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import pdanet_tf
from pdanet_tf.weights.torch import load_torch_state_dict
from tests.support.state_dict import draw

GOLDEN = Path(__file__).parents[1] / "golden"
# Golden file: model, with deep supervision or not.
MODELS = {
    "pdanet": ("pdanet_resnet18", False),
    "pspnet": ("pspnet_resnet18", False),
    "pspnet_deepsup": ("pspnet_resnet18", True),
    "pspnet_resnet50": ("pspnet_resnet50", False),
    "fcn": ("fcn_resnet18", False),
    "fcn_deepsup": ("fcn_resnet18", True),
    "danet": ("danet_resnet18", False),
    "upernet_resnet50": ("upernet_resnet50", False),
}


def layout(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def values(name: str) -> Mapping[str, np.ndarray]:
    return np.load(GOLDEN / f"{name}.npz")


def images(golden: Mapping[str, np.ndarray], prefix: str = "") -> np.ndarray:
    rng = np.random.default_rng(int(golden[f"{prefix}input_seed"]))
    return rng.standard_normal(golden[f"{prefix}input_shape"]).astype("float32")


def load_weights(model: keras.Model, name: str) -> Any:
    shapes = layout(name)
    return load_torch_state_dict(model, draw(shapes["encoder"]), draw(shapes["decoder"]))


def reference_model(name: str, **options: Any) -> keras.Model:
    """Builds a model as the reference has it: normalised images in, logits at 1/8 out."""
    model_name, aux_head = MODELS[name]
    model = pdanet_tf.build_model(
        model_name, include_preprocessing=False, upsample=False, aux_head=aux_head, **options
    )
    load_weights(model, name)
    return model
