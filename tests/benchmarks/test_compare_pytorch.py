"""The twins that speed is compared with compute what our models compute."""

import pytest

pytest.importorskip("torch", reason="PyTorch is an extra")

from benchmarks.compare_pytorch import largest_difference, prepare_twin
from benchmarks.pytorch_twin import HEADS
from pdanet_tf.benchmark.cases import Case

pytestmark = pytest.mark.extra


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_equal(name):
    assert 0 < largest_difference(name) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_twin_learns(precision):
    size = (64, 64)
    step = prepare_twin(Case("pdanet_resnet18", "train", size, 2, precision))
    losses = [step(size) for _ in range(4)]
    assert losses[-1] < losses[0]
