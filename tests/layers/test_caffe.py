"""Layers of networks that were trained with Caffe: values by hand, and against other libraries."""

import numpy as np
import pytest

from pdanet_tf import layers


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_a_deconvolution_by_hand():
    # The kernel of stride 2 is 1/4, 3/4, 3/4, 1/4 in each direction.
    line = np.array([4.0, 8.0], "float32").reshape(1, 1, 2, 1)
    image = np.zeros((1, 1, 6, 3), "float32")
    rows = np.array([1 / 4, 3 / 4, 3 / 4, 1 / 4])
    expected = np.array([1.0, 3.0, 5.0, 7.0, 6.0, 2.0])
    for crop, row in enumerate(rows):
        found = layers.BilinearDeconvolution(2, crop)([line, image])
        np.testing.assert_allclose(np.ravel(found)[: 6 - crop], (row * expected)[crop:], rtol=1e-6)


@pytest.mark.parametrize(("stride", "crop", "size"), [(32, 19, (40, 33)), (8, 31, (9, 20))])
def test_a_deconvolution_equals_pytorch(stride, crop, size):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from tests.support.caffe_networks import upsample

    scores, image = random(2, 4, 6, 3), np.zeros((2, *size, 3), "float32")
    wanted = upsample(torch.from_numpy(scores.transpose(0, 3, 1, 2).copy()), stride).numpy()
    wanted = wanted[:, :, crop : crop + size[0], crop : crop + size[1]].transpose(0, 2, 3, 1)
    layer = layers.BilinearDeconvolution(stride, crop)
    np.testing.assert_allclose(layer([scores, image]), wanted, atol=1e-5)
    assert layer.compute_output_shape([scores.shape, image.shape]) == (2, *size, 3)


def test_a_sum_of_doubled_and_finer_scores_equals_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    from tests.support.caffe_networks import upsample

    coarse, fine = random(2, 3, 4, 5), random(2, 14, 18, 5)
    doubled = upsample(torch.from_numpy(coarse.transpose(0, 3, 1, 2).copy()), 2)
    wanted = doubled.numpy().transpose(0, 2, 3, 1) + fine[:, 5 : 5 + 8, 5 : 5 + 10]
    layer = layers.DeconvolutionSum(5)
    np.testing.assert_allclose(layer([coarse, fine]), wanted, atol=1e-5)
    assert layer.compute_output_shape([coarse.shape, fine.shape]) == (2, 8, 10, 5)


def test_scores_of_deconvolutions_are_precise_in_half_precision():
    scores = random(1, 3, 4, 5)
    for layer in (layers.BilinearDeconvolution, layers.DeconvolutionSum):
        found = layer(2, dtype="mixed_bfloat16")([scores, random(1, 12, 12, 5)])
        assert found.dtype == "float32"


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
@pytest.mark.parametrize("size", [(8, 12), (9, 13), (5, 2)])
def test_rescaling_equals_pytorch(scale, size):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    images = random(2, *size, 3)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        scale_factor=scale,
        mode="bilinear",
        align_corners=False,
    )
    wanted = wanted.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layers.BilinearRescale(scale)(images), wanted, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 12), (3, 5), (2, 1)])
def test_reflection_equals_numpy(size):
    images = random(2, *size, 3)
    more = [(-side) % 4 for side in size]
    wanted = np.pad(images, ((0, 0), (7, 7 + more[0]), (7, 7 + more[1]), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(layers.ReflectionPadding(7, 4)(images), wanted)


def test_local_response_normalization_by_hand():
    # Caffe's formula with 3 channels, which a window of 5 always contains.
    pixel = np.array([3.0, 4.0, 12.0], "float32").reshape(1, 1, 1, 3)
    wanted = pixel / (1 + 0.5 / 5 * 169) ** 0.75
    layer = layers.LocalResponseNormalization(5, alpha=0.5, beta=0.75)
    np.testing.assert_allclose(layer(pixel), wanted, rtol=1e-6)


def test_local_response_normalization_equals_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    images = 100 * random(2, 4, 5, 8)
    wanted = torch.nn.functional.local_response_norm(
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), 5, alpha=1e-2, beta=0.75, k=1.0
    )
    layer = layers.LocalResponseNormalization(5, alpha=1e-2)
    np.testing.assert_allclose(layer(images), wanted.numpy().transpose(0, 2, 3, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (layers.BilinearDeconvolution, {"stride": 3}, "stride must be even.*stride=3"),
        (layers.BilinearDeconvolution, {"stride": 2, "crop": -1}, "crop must be at least 0.*-1"),
        (layers.DeconvolutionSum, {"crop": 1.5}, "crop must be an integer"),
        (layers.BilinearRescale, {"scale": 0}, "scale must be a positive fraction"),
        (layers.BilinearRescale, {"scale": 0.123456}, "scale must be a positive fraction"),
        (layers.ReflectionPadding, {"padding": 0}, "padding must be at least 1"),
        (layers.LocalResponseNormalization, {"size": 4}, "size must be odd.*size=4"),
        (layers.ContextModule, {"num_layers": 9}, r"one of \(7, 8, 10\).*num_layers=9"),
        (layers.ContextModule, {"variant": "large", "num_layers": 10}, r"one of \(8,\)"),
    ],
)
def test_bad_arguments(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer(**arguments)


@pytest.mark.parametrize(("num_layers", "reach"), [(7, 17), (8, 33), (10, 129)])
@pytest.mark.parametrize("pad_once", [False, True])
def test_the_receptive_field_of_a_context_module(num_layers, reach, pad_once):
    """A new module without noise has only centre taps; ones everywhere show how far it sees."""
    module = layers.ContextModule("basic", num_layers=num_layers, pad_once=pad_once)
    side = 2 * reach + 11
    image = np.zeros((1, side, 1, 1), "float32")
    module.build(image.shape)
    assert len(module.convs) == num_layers
    for conv in module.convs:
        conv.kernel.assign(np.ones(conv.kernel.shape))
    image[0, reach + 5] = 1
    seen = np.flatnonzero(np.ravel(module(image)))
    assert (seen[0], seen[-1], len(seen)) == (5, side - 6, 2 * reach + 1)
