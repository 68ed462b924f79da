"""The client against servers around a loaded SavedModel."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pdanet_tf.data.problems import DataError
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.serving import Client, RequestError, ServingError
from pdanet_tf.serving.images import read_image_to_send
from tests.support.images import random_image
from tests.support.served_model import PIXEL_LIMIT, REFUSAL, labels_of
from tests.support.servers import MODEL, serve_grpc, serve_rest

SERVERS = {"grpc": serve_grpc, "rest": serve_rest}


@pytest.fixture(scope="module")
def url(request, signatures):
    with SERVERS[request.param](signatures) as url:
        yield url


def check_predictions(url, protocol, signature, folder):
    """Checks a client of a server that has the model of `tests.support.served_model`."""
    images = [random_image(33, 40), random_image(20, 61), random_image(33, 40)]
    Image.fromarray(images[1]).save(folder / "b.png")
    given = [images[0], folder / "b.png", Image.fromarray(images[2])]
    classes = ["dark", "middle", "bright"]
    options = {"protocol": protocol, "signature": signature, "classes": classes}
    with Client(url, MODEL, **options) as client:
        predictions = client.predict(given)
        for image, prediction in zip(images, predictions, strict=True):
            np.testing.assert_array_equal(prediction.label_map, labels_of(image))
            np.testing.assert_array_equal(prediction.image, image)
            assert prediction.label_map.dtype == np.int32
            assert list(prediction.classes.names) == classes
        assert predictions[0].areas()["dark"] == (labels_of(images[0]) == 0).mean()
        alone = client.predict(images[1], batch_size=1)
        np.testing.assert_array_equal(alone.label_map, labels_of(images[1]))
        assert len(client.predict(np.stack([images[0], images[2]]))) == 2
        assert client.predict([]) == []


def check_refusals(url, protocol, folder):
    """Checks that an image that the server refuses costs only itself."""
    large, small = np.zeros((101, 100, 3), "uint8"), random_image(20, 30)
    assert large[..., 0].size > PIXEL_LIMIT
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    given = [small, large, folder / "broken.jpg", folder / "none.jpg", small]
    with Client(url, MODEL, protocol=protocol) as client:
        outcomes = [*client.outcomes(given)]
        with pytest.raises(RequestError, match="image 0: the server refused the image: expected"):
            client.predict(large)
    for outcome in (outcomes[0], outcomes[4]):
        assert isinstance(outcome, Prediction)
        assert outcome.classes.names == ("class 0", "class 1", "class 2")
    assert isinstance(outcomes[1], RequestError)
    assert str(outcomes[1]) == f"image 1: the server refused the image: {REFUSAL}"
    assert isinstance(outcomes[2], DataError)
    assert "broken.jpg" in str(outcomes[2])
    assert "none.jpg: the file cannot be read: No such file" in str(outcomes[3])


def check_wrong_model(url, protocol):
    with (
        Client(url, "pdante", protocol=protocol) as client,
        pytest.raises(ServingError, match=r"the server has no model 'pdante' \(.*pdante") as caught,
    ):
        client.predict(random_image(8, 8))
    assert not isinstance(caught.value, RequestError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["rest"], indirect=True)
@pytest.mark.parametrize("signature", ["serving_default", "image"])
def test_predictions_over_rest(url, signature, tmp_path):
    check_predictions(url, "tensorflow-serving", signature, tmp_path)


@pytest.mark.parametrize("url", ["grpc"], indirect=True)
@pytest.mark.parametrize("signature", ["serving_default", "image"])
@pytest.mark.usefixtures("tensorflow_serving")
def test_predictions_over_grpc(url, signature, tmp_path):
    check_predictions(url, "tensorflow-serving", signature, tmp_path)


@pytest.mark.parametrize("url", ["rest"], indirect=True)
def test_refusals_and_a_wrong_model_over_rest(url, tmp_path):
    check_refusals(url, "tensorflow-serving", tmp_path)
    check_wrong_model(url, "tensorflow-serving")


@pytest.mark.parametrize("url", ["grpc"], indirect=True)
@pytest.mark.usefixtures("tensorflow_serving")
def test_refusals_and_a_wrong_model_over_grpc(url, tmp_path):
    check_refusals(url, "tensorflow-serving", tmp_path)
    check_wrong_model(url, "tensorflow-serving")


@pytest.mark.parametrize("url", ["grpc"], indirect=True)
@pytest.mark.usefixtures("tensorflow_serving")
def test_messages_over_grpc_may_exceed_its_own_limit(url):
    image = random_image(1200, 1200)  # 4.3 MB; the answer has two arrays of a third
    several = [image, image, image]
    with Client(url, MODEL, signature="image") as client:
        for prediction in client.predict(several):
            np.testing.assert_array_equal(prediction.label_map, labels_of(image))


@pytest.mark.parametrize("url", ["rest"], indirect=True)
def test_a_request_that_is_refused_whole_is_sent_again_image_by_image(url, monkeypatch):
    """As the servers of a strict export answer."""
    monkeypatch.setattr("pdanet_tf.serving.images.SentImage.encoded", encode_or_spoil)
    spoiled, image = np.zeros((8, 8, 3), "uint8"), random_image(8, 8)
    with Client(url, MODEL) as client:
        first, second, third = client.outcomes([image, spoiled, image])
    np.testing.assert_array_equal(first.label_map, labels_of(image))
    np.testing.assert_array_equal(third.label_map, labels_of(image))
    assert str(second).startswith("image 1: ")
    assert "the server refused the request: " in str(second)


def encode_or_spoil(image):
    if not image.pixels.any():
        return b"no image"
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_files_travel_as_they_are_unless_a_server_would_see_other_pixels(tmp_path):
    photo = Image.fromarray(random_image(24, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise
    kinds = {
        "plain.jpg": (photo, {}, True),
        "grey.jpg": (photo.convert("L"), {}, True),
        "plain.png": (photo, {}, True),
        "turned.jpg": (photo, {"exif": exif}, False),
        "cmyk.jpg": (photo.convert("CMYK"), {}, False),
        "palette.png": (photo.convert("P"), {}, False),
        "alpha.png": (photo.convert("RGBA"), {}, False),
        "deep.png": (Image.fromarray(random_image(24, 40)[..., 0].astype("uint16")), {}, False),
        "photo.webp": (photo, {"lossless": True}, False),
        "photo.tif": (photo, {}, False),
        "photo.bmp": (photo, {}, False),
    }
    for name, (image, options, as_it_is) in kinds.items():
        image.save(tmp_path / name, **options)
        sent = read_image_to_send(tmp_path / name, "image")
        stored = (tmp_path / name).read_bytes()
        assert (sent.encoded() == stored) is as_it_is, name
        with Image.open(io.BytesIO(sent.encoded())) as seen:
            np.testing.assert_array_equal(np.asarray(seen.convert("RGB")), sent.pixels)
    turned = read_image_to_send(tmp_path / "turned.jpg", "image").pixels
    upright = np.rot90(np.asarray(Image.open(tmp_path / "turned.jpg")), -1)
    np.testing.assert_array_equal(turned, upright)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:8500"}, "is grpc://HOST:PORT, .* Received: 'localhost:8500'"),
        ({"url": "grpc://localhost"}, "is grpc://HOST:PORT, "),
        ({"url": "grpc://localhost:port"}, "in url='grpc://localhost:port'"),
        ({"url": "grpc://localhost:1/v1/models"}, "is grpc://HOST:PORT, "),
        ({"url": "http:///models"}, "is grpc://HOST:PORT, "),
        ({"protocol": "open_inference"}, r"did you mean 'open-inference'\?"),
        ({"signature": "images"}, r"did you mean 'image'\?"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"timeout": "1"}, "timeout must be a finite number"),
        ({"retries": -1}, "retries must be at least 0"),
        ({"model": ""}, "model must be the name"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"url": "http://localhost:1", "model": MODEL, **arguments})


def test_wrong_images_and_batches():
    with Client("http://localhost:1", MODEL) as client:
        with pytest.raises(ValueError, match="An image must have the shape"):
            client.predict(np.zeros((8, 8, 3)))
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            client.predict(random_image(8, 8), batch_size=0)


def test_the_client_needs_neither_keras_nor_tensorflow(tmp_path):
    Image.fromarray(random_image(8, 8)).save(tmp_path / "photo.png")
    command = ["request", "http://localhost:1", str(tmp_path / "photo.png"), "--model", MODEL]
    script = (
        "import sys\n"
        "import numpy as np\n"
        "from pdanet_tf.serving import Client, ServingError\n"
        "for url in ('http://localhost:1', 'grpc://localhost:1'):\n"
        "    try:\n"
        "        Client(url, 'pdanet', retries=0).predict(np.zeros((8, 8, 3), 'uint8'))\n"
        "    except ServingError as error:\n"
        "        assert 'no server answers at this address (1 attempt in' in str(error)\n"
        "from pdanet_tf.cli import main\n"
        f"assert main({[*command, '--retries', '0']}) == 1\n"
        "assert not {'keras', 'tensorflow', 'matplotlib'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("module", "url"), [("grpc", "grpc://localhost:1"), ("requests", "http://localhost:1")]
)
def test_a_missing_extra_is_named(module, url, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"requires the package {module}, which .*: pip install 'pdanet_tf\[serving\]'"
    with pytest.raises(ImportError, match=message):
        Client(url, MODEL)
