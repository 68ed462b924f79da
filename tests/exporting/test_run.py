"""Models exported to other runtimes: from images to labels and confidences."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import resize_image
from pdanet_tf.data.sources.synthetic import SyntheticDataset
from pdanet_tf.exporting import segmentation
from pdanet_tf.exporting.segmentation import build_segmentation
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings, load_model
from pdanet_tf.models.inspection import split_pixel_model
from pdanet_tf.runtimes.litert import open_litert
from pdanet_tf.runtimes.onnx import open_onnx
from pdanet_tf.runtimes.openvino import open_openvino
from tests.support.images import random_image
from tests.support.protocols import CLASSES, PROTOCOLS, decisive_model  # noqa: F401

NAMES = ("sky", "road", "tree", "car")


@pytest.mark.parametrize("short_edges", [None, (300, 450, 600)])
def test_sizes_are_those_of_the_protocol(short_edges):
    protocol = Protocol(short_edges, 600)
    sizes = [(33, 47), (512, 739), (739, 512), (2000, 3000), (4, 5), (450, 450), (1, 700)]
    for size in sizes:
        found = segmentation._working_sizes([tf.constant(side) for side in size], protocol)
        assert [tuple(int(side) for side in sides) for sides in found] == protocol.sizes(size)
        known = segmentation._working_sizes(list(size), protocol)
        assert [tuple(sides) for sides in known] == protocol.sizes(size)


@pytest.mark.parametrize("size", [(90, 120), (180, 240), (120, 160), (64, 200), (7, 5)])
def test_images_are_resized_as_pillow_does(size):
    image = np.asarray(Image.fromarray(random_image(12, 16)).resize((160, 120), Image.BICUBIC))
    found = segmentation._resize(tf.cast(image[None], tf.float32), list(size), rounded=True)[0]
    # Pillow computes with 22 bits, and rounds values half-way between two levels by chance.
    difference = np.abs(found - resize_image(image, size).astype("float32"))
    assert difference.max() <= 2
    assert difference.mean() < 0.25


def assert_segments_as_the_predictor(run, model, protocol, images):
    """`image`: (batch, height, width, 3), uint8."""
    predictor = Predictor(model, protocol)
    found = run(images)
    assert found["labels"].dtype == found["confidence"].dtype == np.uint8
    for image, labels, confidence in zip(images, found["labels"], found["confidence"], strict=True):
        probabilities = predictor.probabilities(image)
        assert (labels == probabilities.argmax(-1)).mean() > 0.999
        # Rounded to whole 255ths, and images are resized by another program.
        assert np.abs(confidence / 255 - probabilities.max(-1)).mean() < 0.003


@pytest.mark.parametrize(
    "name",
    [
        "flip",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("several sizes", "own size")),
    ],
)
def test_the_graph_segments_as_the_predictor(model, name):
    network, grid = split_pixel_model(model)
    segment = build_segmentation(network, grid, PROTOCOLS[name], rounded=True)
    graph = tf.function(segment, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])

    def run(images):
        return {name: tensor.numpy() for name, tensor in graph(images).items()}

    images = np.stack([random_image(30, 42), random_image(30, 42)[::-1]])
    assert_segments_as_the_predictor(run, model, PROTOCOLS[name], images)


def test_more_than_256_classes_are_labels_of_16_bits():
    logits = tf.one_hot([[[300, 2]]], 301, on_value=np.log(600.0))
    found = segmentation._decide([logits])
    assert found["labels"].dtype == tf.uint16
    np.testing.assert_array_equal(found["labels"], [[[300, 2]]])
    np.testing.assert_array_equal(found["confidence"], [[[170, 170]]])  # 255 x 600 / 900


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onyx"}, "did you mean 'onnx'"),
        ({"format": "litert"}, "images of one size: give size"),
        ({"format": "onnx", "calibration": "photos"}, "int8 is for the formats openvino and lit"),
        ({"format": "onnx", "strict": True}, "strict: for the format saved_model only, not onnx"),
        ({"size": (64, 64)}, "leave size out"),
        ({"format": "litert", "size": (0, 64)}, r"size must be .* Received: size=\(0, 64\)"),
        ({"format": "litert", "size": (8, 8), "protocol": PROTOCOLS["windows"]}, "sliding windows"),
    ],
)
def test_wrong_arguments_are_refused(model, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pdanet_tf.export(model, tmp_path / "1", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(model, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"photos: no images \(\.jpg"):
        pdanet_tf.export(
            model, tmp_path / "1", "litert", size=(8, 8), calibration=tmp_path / "photos"
        )
    with pytest.raises(FileExistsError, match="photos: already exists"):
        pdanet_tf.export(model, tmp_path / "photos", "litert", size=(8, 8))
    half = pdanet_tf.models.with_dtype_policy(model, "mixed_bfloat16")
    with pytest.raises(ValueError, match="Received: a model in bfloat16"):
        pdanet_tf.export(half, tmp_path / "1", "litert", size=(8, 8))
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'pdanet_tf\[onnx\]'"):
        pdanet_tf.export(model, tmp_path / "1", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def export_small(tmp_path, protocol, **options):
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model("pdanet_resnet18_quarter", CLASSES)
    classes = Classes(NAMES, Classes.numbered(CLASSES).colors)
    folder = pdanet_tf.export(model, tmp_path / "1", protocol=protocol, classes=classes, **options)
    settings = InferenceSettings.load_for(folder / "model")
    assert (settings.protocol, settings.classes) == (protocol, classes)
    return model, folder


@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")
def test_onnx(onnxruntime, tmp_path):
    protocol = Protocol((24, 32), flip=True)
    model, folder = export_small(tmp_path, protocol, format="onnx")
    run = open_onnx((folder / "model.onnx").read_bytes())
    for size in ((30, 42), (57, 33)):
        images = np.stack([random_image(*size), random_image(*size)[::-1]])
        assert_segments_as_the_predictor(run, model, protocol, images)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    stored = json.loads(session.get_modelmeta().custom_metadata_map["pdanet_tf"])
    assert [each["name"] for each in stored["classes"]] == list(NAMES)
    assert [(each.name, each.type) for each in session.get_inputs()] == [("image", "tensor(uint8)")]


def test_openvino(openvino, tmp_path):
    model, folder = export_small(tmp_path, Protocol(), format="openvino")
    run = open_openvino(folder / "model.xml")
    for size in ((30, 42), (57, 33)):
        images = np.stack([random_image(*size), random_image(*size)[::-1]])
        assert_segments_as_the_predictor(run, model, Protocol(), images)
    stored = openvino.Core().read_model(folder / "model.xml").get_rt_info("pdanet_tf").value
    assert [each["name"] for each in json.loads(stored)["classes"]] == list(NAMES)


def test_litert(ai_edge_litert, tmp_path):
    model, folder = export_small(tmp_path, Protocol((24,)), format="litert", size=(30, 42))
    run = open_litert((folder / "model.tflite").read_bytes(), 1)
    assert_segments_as_the_predictor(run, model, Protocol((24,)), random_image(30, 42)[None])


@pytest.mark.parametrize("format", ["openvino", "litert"])
def test_int8_is_smaller_and_nearly_the_same(format, openvino, nncf, ai_edge_litert, tmp_path):
    """A trained model: the features of random weights have ranges that int8 does not have."""
    scenes = SyntheticDataset("validation")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(3):
        Image.fromarray(scenes.read(index)[0].astype("uint8")).save(photos / f"{index}.png")
    image = resize_image(scenes.read(3)[0].astype("uint8"), (96, 128))
    options = {"format": format, "size": (96, 128), "protocol": Protocol()}
    folder = pdanet_tf.export("camvid", tmp_path / "1", calibration=photos, **options)
    name = {"openvino": "model.bin", "litert": "model.tflite"}[format]
    model, _ = load_model("camvid")
    # A weight takes one byte instead of four, and OpenVINO keeps some in float32.
    assert (folder / name).stat().st_size < 0.6 * 4 * model.count_params()
    run = {
        "openvino": lambda: open_openvino(folder / "model.xml"),
        "litert": lambda: open_litert((folder / name).read_bytes(), 1),
    }[format]()
    labels = run(image[None])["labels"][0]
    agreement = (labels == Predictor(model, Protocol()).label_map(image)).mean()
    assert agreement > 0.85
