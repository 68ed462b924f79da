"""The reference's models, rebuilt with the weights that the golden values were computed with."""

import json
from pathlib import Path

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
}


def layout(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def values(name):
    return np.load(GOLDEN / f"{name}.npz")


def images(golden, prefix=""):
    rng = np.random.default_rng(int(golden[f"{prefix}input_seed"]))
    return rng.standard_normal(golden[f"{prefix}input_shape"]).astype("float32")


def load_weights(model, name):
    shapes = layout(name)
    return load_torch_state_dict(model, draw(shapes["encoder"]), draw(shapes["decoder"]))


def reference_model(name, **options):
    """Builds a model as the reference has it: normalised images in, logits at 1/8 out."""
    model_name, aux_head = MODELS[name]
    model = pdanet_tf.build_model(
        model_name, include_preprocessing=False, upsample=False, aux_head=aux_head, **options
    )
    load_weights(model, name)
    return model
