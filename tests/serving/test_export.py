"""The client against TensorFlow Serving's interfaces around an exported model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.data.class_table import CLASSES_FILE
from pdanet_tf.serving import Client, RequestError
from tests.support.images import random_image
from tests.support.servers import MODEL, serve_grpc, serve_rest


@pytest.mark.usefixtures("tensorflow_serving")
def test_label_maps_are_those_of_predict(tmp_path):
    keras.utils.set_random_seed(0)
    model = pdanet_tf.build_model("fcn_resnet18", num_classes=3)
    classes = pdanet_tf.data.Classes.named(["road", "sky", "car"])
    folder = tmp_path / "pdanet" / "1"
    pdanet_tf.export_saved_model(model, folder, classes=classes, max_pixels=10_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo, other, large = (tmp_path / f"{name}.jpg" for name in ("photo", "other", "large"))
    Image.fromarray(random_image(40, 56)).save(photo, exif=exif)
    Image.fromarray(random_image(61, 33)).save(other)
    Image.fromarray(random_image(101, 100)).save(large)
    files = [photo, large, other]
    expected = [pdanet_tf.predict(file, model) for file in files]
    signatures = tf.saved_model.load(str(folder)).signatures
    with serve_grpc(signatures) as grpc_url, serve_rest(signatures) as rest_url:
        for url in (grpc_url, rest_url):
            with Client(url, MODEL, classes=folder / "assets" / CLASSES_FILE) as client:
                outcomes = list(client.outcomes(files))
            with Client(url, MODEL, signature="image") as client:
                pixels = client.predict([photo, other])
            assert isinstance(outcomes[1], RequestError)
            assert "large.jpg: the server refused the image: 101 x 100 pixels" in str(outcomes[1])
            assert outcomes[0].label_map.shape == (56, 40)
            assert outcomes[0].classes == classes
            for index, found in (
                (0, outcomes[0]),
                (2, outcomes[2]),
                (0, pixels[0]),
                (2, pixels[1]),
            ):
                np.testing.assert_array_equal(found.image, expected[index].image)
                assert (found.label_map == expected[index].label_map).mean() >= 0.999
