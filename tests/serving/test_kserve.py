"""The client against KServe, which serves an export by `examples/serving/kserve/server.py`."""

import base64
import os
import socket
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import requests

import pdanet_tf
from pdanet_tf.serving import Client, RequestError, ServingError
from tests.support.images import random_image

SERVER = Path(__file__).parents[2] / "examples" / "serving" / "kserve" / "server.py"
PYTHON = os.environ.get("PDANET_TF_KSERVE_PYTHON")
CLASSES = ["road", "sky", "car"]
KINDS = [
    ("http", "tensorflow-serving"),  # KServe's V1
    ("http", "open-inference"),  # V2
    ("grpc", "open-inference"),
]
pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(
        PYTHON is None,
        reason="needs kserve in an environment of its own (`make .venv/kserve`), whose python "
        "PDANET_TF_KSERVE_PYTHON names",
    ),
]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18", num_classes=3)


@pytest.fixture(scope="module")
def urls(model, tmp_path_factory):
    """The URLs of a server of the model, by scheme."""
    folder = tmp_path_factory.mktemp("kserve")
    pdanet_tf.export_saved_model(model, folder / "pdanet" / "1", max_pixels=10_000)
    ports = {scheme: free_port() for scheme in ("http", "grpc")}
    command = [PYTHON, SERVER, folder / "pdanet" / "1", "--model_name", "pdanet"]
    for scheme, port in ports.items():
        command += [f"--{scheme}_port", str(port)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": ""}
    with (
        open(folder / "log", "w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            wait_for(f"http://localhost:{ports['http']}/v2/models/pdanet/ready", process)
            yield {scheme: f"{scheme}://localhost:{port}" for scheme, port in ports.items()}
        finally:
            process.terminate()


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def wait_for(url, process):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    raise TimeoutError(url)


@pytest.mark.parametrize(("scheme", "protocol"), KINDS)
@pytest.mark.parametrize("signature", ["serving_default", "image"])
def test_kserve_answers_as_the_model_predicts(scheme, protocol, signature, urls, model):
    predictor = pdanet_tf.Predictor(model)
    images = [random_image(40, 56), random_image(61, 33), random_image(40, 56)]
    options = {"protocol": protocol, "signature": signature, "classes": CLASSES}
    with Client(urls[scheme], "pdanet", **options) as client:
        predictions = client.predict(images)
    for image, prediction in zip(images, predictions, strict=True):
        assert prediction.classes.names == tuple(CLASSES)
        assert prediction.label_map.shape == image.shape[:2]
        assert (prediction.label_map == predictor.label_map(image)).mean() >= 0.999


@pytest.mark.parametrize(("scheme", "protocol"), KINDS)
def test_errors_of_kserve(scheme, protocol, urls):
    image, large = random_image(40, 56), np.zeros((101, 100, 3), "uint8")
    with Client(urls[scheme], "pdanet", protocol=protocol) as client:
        first, second, third = client.outcomes([image, large, image])
        np.testing.assert_array_equal(first.label_map, third.label_map)
        assert isinstance(second, RequestError)
        assert str(second).startswith("image 1: the server refused the image: 101 x 100 pixels")
    with (
        Client(urls[scheme], "pdante", protocol=protocol) as client,
        pytest.raises(ServingError, match="the server has no model 'pdante'"),
    ):
        client.predict(image)
    with (
        Client(urls["grpc"], "pdanet", protocol="tensorflow-serving") as client,
        pytest.raises(ServingError, match="does not speak this protocol"),
    ):
        client.predict(image)


def test_other_clients_may_ask_for_json(urls, tmp_path):
    """As `curl` does, without the extension for binary tensors."""
    content = base64.b64encode(b"not an image").decode()
    tensor = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [content]}
    request = {"inputs": [{**tensor, "parameters": {"content_type": "base64"}}]}
    url = f"{urls['http']}/v2/models/pdanet/infer"
    outputs = {each["name"]: each for each in requests.post(url, json=request).json()["outputs"]}
    assert outputs["error"]["data"][0].startswith("not an image")
    assert outputs["class_ids"]["data"] == [-1, -1, -1]
    assert outputs["label_map_bytes"]["data"] == [""]
    answer = requests.post(url, json={"inputs": [{**tensor, "name": "photo"}]})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(
        "expected one of the inputs image_bytes, image; received photo"
    )
