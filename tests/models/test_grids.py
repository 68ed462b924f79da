"""Where the cells of features lie in the image, and that logits are placed there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import pdanet_tf
from pdanet_tf import backbones
from pdanet_tf.backbones import output_grids
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.layers import BilinearResizeLike, pixel_mean
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import bilinear_resize


def test_the_crops_of_the_published_fcn():
    """Offsets 19, 5, 9 and 31 in the prototxts of FCN-32s and FCN-8s (Long et al. 2015)."""

    def upsampled(grid, factor):
        """A deconvolution with kernel size 2 * factor: cell 0 lies at output `factor` - 1/2."""
        stride = grid.stride // factor
        return CellGrid(stride, grid.first - (factor - 0.5) * stride)

    grid, pools = CellGrid().after(3, padding=100), {}
    for block in range(1, 6):
        grid = pools[block] = grid.after(2, 2)
    scores = grid.after(7)  # fc6, which is not padded
    assert -upsampled(scores, 32).first == 19
    scores = upsampled(scores, 2)
    assert scores.relative_to(pools[4]) == CellGrid(1, 5)
    scores = upsampled(scores, 2)
    assert scores.relative_to(pools[3]) == CellGrid(1, 9)
    assert -upsampled(scores, 8).first == 31


BACKBONES = {
    "resnet18, 8": backbones.resnet18,
    "resnet18, 16": lambda: backbones.resnet18(16),
    "resnet18, 32, 7x7": lambda: backbones.resnet18(32, stem="7x7"),
    "vgg16, 32": backbones.vgg16,
    "vgg16, 8": lambda: backbones.vgg16(8),
    "vgg16, 8, without late pools": lambda: backbones.vgg16(8, late_pools=False),
}


def make_averaging(model):
    """Sets every kernel so that a layer averages its inputs."""
    for variable in model.weights:
        if variable.name == "kernel":
            variable.assign(np.full(variable.shape, 1 / np.prod(variable.shape[:3])))
    return model


@pytest.mark.parametrize("name", BACKBONES)
def test_cells_lie_at_the_centres_of_their_receptive_fields(name):
    """A network that averages a linear slope of brightness shows the centres of its cells."""
    backbone, side = make_averaging(BACKBONES[name]()), 768
    rows = np.arange(side, dtype="float32")[None, :, None, None]
    rising = np.broadcast_to(rows, (1, side, 64, 3))
    # A maximum favours the bright end of its window; the mean of both directions cancels that.
    rising, falling, constant = (
        {stage: np.asarray(x)[0, :, x.shape[2] // 2, 0] for stage, x in backbone(image).items()}
        for image in (rising, side - 1 - rising, np.ones_like(rising))
    )
    for stage, grid in output_grids(backbone).items():
        middle = len(constant[stage]) // 2
        up, down = (x[stage][middle] / constant[stage][middle] for x in (rising, falling))
        assert (up + side - 1 - down) / 2 == pytest.approx(
            grid.first + middle * grid.stride, abs=0.05
        ), stage


def test_a_layer_that_moves_cells_in_an_unknown_way_is_not_guessed_at():
    images = keras.Input((None, None, 3))
    shrunk = keras.layers.Cropping2D(4)(keras.layers.Conv2D(4, 3, strides=2)(images))
    with pytest.raises(LookupError, match="cropping2d"):
        output_grids(keras.Model(images, {"C5": shrunk}))


def test_resizing_places_the_cells_and_cuts_off_what_is_outside():
    cells = np.arange(12, dtype="float32")[None, :, None, None]
    placed = bilinear_resize(cells, (360, 1), CellGrid(32, 15.5))
    expected = np.clip((np.arange(360) - 15.5) / 32, 0, 11)
    np.testing.assert_allclose(np.ravel(placed), expected, atol=1e-5)
    like = np.zeros((1, 360, 1, 3), "float32")
    layer = BilinearResizeLike(32, 15.5)
    again = BilinearResizeLike.from_config(layer.get_config())
    np.testing.assert_array_equal(again([cells, like]), placed)
    assert BilinearResizeLike().get_config().keys().isdisjoint({"stride", "first"})


def step_image(height, width, row):
    """An image of the mean pixel, which the network sees as 0, and of white from a row on."""
    image = np.empty((height, width, 3), "uint8")
    image[:row], image[row:] = np.round(pixel_mean("torch")), 255
    return image


def seeing_brightness(**options):
    """A model that averages and predicts class 1 where the image is brighter than half of white."""
    model = make_averaging(pdanet_tf.build_model("fcn_resnet18", 2, **options))
    features = keras.Model(model.input, model.get_layer("classifier").input)
    white = np.asarray(features(np.full((1, 704, 704, 3), 255, "uint8")))[0]
    bright = white[white.shape[0] // 2, white.shape[1] // 2]
    kernel = np.zeros((1, 1, len(bright), 2), "float32")
    kernel[0, 0, 0, 1] = 1
    model.get_layer("classifier").set_weights([kernel, np.array([bright[0] / 2, 0], "float32")])
    return model


def edge_of(label_map):
    return int(np.argmax(label_map[:, label_map.shape[1] // 2]))


def pooling_backbone():
    """A backbone of five average pools: cells of 32 pixels, and no other layer blurs an edge."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 1)(images)
    for _ in range(5):
        x = keras.layers.AveragePooling2D(2, padding="same")(x)
    return keras.Model(images, {"C5": x})


# 712 rows are 22 1/4 cells of 32 pixels: stretched, an edge at 400 would come out at 387.
def test_an_edge_comes_out_where_it_is(tmp_path):
    model, image = seeing_brightness(backbone=pooling_backbone()), step_image(712, 480, 400)
    assert edge_of(np.asarray(model(image[None]))[0].argmax(-1)) == pytest.approx(400, abs=1)
    for protocol in (
        Protocol(),
        Protocol(flip=True),
        Protocol(crop_size=(712, 320), stride=(712, 160), flip=True),
        Protocol(crop_size=(328, 320), stride=(200, 160)),
    ):
        found = Predictor(model, protocol).label_map(image)
        assert edge_of(found) == pytest.approx(400, abs=1), protocol
    # In the transposed image the edge is a column, which mirrored inference must keep in place.
    image = image.transpose(1, 0, 2)
    turned = Predictor(model, Protocol(flip=True)).label_map(image)
    assert edge_of(turned.T) == pytest.approx(400, abs=1)
    pdanet_tf.export_saved_model(model, tmp_path / "1", Protocol(flip=True))
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    answer = served(image_bytes=tf.io.encode_png(image)[None])
    label_map = tf.io.decode_png(answer["label_map_bytes"][0])[..., 0].numpy()
    np.testing.assert_array_equal(label_map, turned)


@pytest.mark.parametrize("options", [{"output_stride": 16}, {"output_stride": 32}])
def test_an_edge_comes_out_where_it_is_of_a_resnet(options):
    model = seeing_brightness(**options)
    image = step_image(712, 480, 400)
    # Maxima favour the bright side; the mean over both directions of the edge cancels that.
    other = np.where(image == 255, image[:1], 255).astype("uint8")
    down, up = np.asarray(model(np.stack([image, other]))).argmax(-1)
    assert (edge_of(down) + 712 - edge_of(up[::-1])) / 2 == pytest.approx(400, abs=1)


def test_training_models_are_placed_too():
    model = pdanet_tf.build_model("fcn_resnet18", 2, output_stride=32)
    coarse = pdanet_tf.build_model("fcn_resnet18", 2, output_stride=32, upsample=False)
    coarse.set_weights(model.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (360, 200, 3)).astype("uint8")
    np.testing.assert_allclose(
        Predictor(coarse).probabilities(image), Predictor(model).probabilities(image), atol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "place"), [({}, 4), ({"output_stride": 16}, 0), ({"model": "fcn32s_vgg16"}, 16)]
)
def test_training_takes_the_labels_where_prediction_places_the_cells(
    options, place, make_folder, monkeypatch, tmp_path
):
    """On the reference's grid, cell i learns the label at 8 i + 4; else that of its centre."""
    given = {}

    def batches(*_, **options):
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("pdanet_tf.training.batches.crop_batches", batches)
    model = {"model": "fcn_resnet18", **options}
    config = pdanet_tf.TrainConfig(
        output_dir=str(tmp_path / "run"),
        dataset="folder",
        data_dir=str(make_folder()),
        num_classes=3,
        crop_size=(40, 40),
        **model,
    )
    with pytest.raises(KeyboardInterrupt):
        pdanet_tf.train(config, verbose=0)
    start = given["label_start"]
    assert (given["label_stride"] // 2 if start is None else start) == place
