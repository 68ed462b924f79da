"""Checkpoints of the reference and of DANet's authors: which model they hold."""

import numpy as np
import pytest

import pdanet_tf
from pdanet_tf.weights.sources.checkpoint import recognise
from tests.support import golden_models as golden


def whole(name):
    """The state dict of a golden model, of zeros, with the names of one file."""
    return {
        f"{part}.{key}": np.broadcast_to(np.float32(0), shape)
        for part, shapes in golden.layout(name).items()
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize("name", golden.MODELS)
def test_the_model_of_a_checkpoint_is_found(name):
    found = recognise(whole(name), "file.pth").architecture
    assert (found.model, found.aux_head) == golden.MODELS[name]
    assert (found.num_classes, found.stem, found.variant) == (150, "deep", None)


def mobilenet_encoder(blocks):
    kernels = {
        f"encoder.features.{index}.conv.0.weight": (1, 1, 3, 3) for index in range(1, blocks)
    }
    shapes = {"encoder.features.0.0.weight": (32, 3, 3, 3), **kernels}
    return {name: np.zeros(shape, "float32") for name, shape in shapes.items()}


def test_mobilenetv2_is_found_by_its_blocks():
    decoder = {name: array for name, array in whole("fcn").items() if name.startswith("decoder.")}
    found = recognise({**mobilenet_encoder(18), **decoder}, "file.pth")
    assert found.architecture.model == "fcn_mobilenetv2"
    assert found.architecture.stem is None
    other = recognise({**mobilenet_encoder(12), **decoder}, "file.pth")
    assert other.architecture is None
    assert "must have 17 blocks" in other.reason
    assert "11 behind 32" in other.reason


def test_a_checkpoint_of_danets_authors_is_refused_with_the_reason(tmp_path):
    state = {
        "pretrained.conv1.0.weight": np.zeros((64, 3, 3, 3), "float32"),
        "head.conv5a.0.weight": np.zeros((512, 2048, 3, 3), "float32"),
    }
    np.savez(tmp_path / "danet.npz", **state)
    with pytest.raises(ValueError, match=r"DANet's authors, but .* 4, 8 and 16 \(multi-grid\)"):
        pdanet_tf.build_model("danet_resnet50", 150, weights=tmp_path / "danet.npz")
