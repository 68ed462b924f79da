"""What the server of the demo page answers."""

import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.sources.synthetic import SYNTHETIC_CLASSES
from pdanet_tf.demo import answers
from pdanet_tf.demo.packing import pack, to_bytes
from pdanet_tf.demo.samples import drawn_samples, folder_samples
from pdanet_tf.demo.streets import draw_street
from pdanet_tf.inference import Predictor, explain
from tests.support.demo_pages import ask, running, unpack
from tests.support.models import pictures

pytest.importorskip("starlette", reason="requires the extra demo")
pytest.importorskip("uvicorn", reason="requires the extra demo")

from pdanet_tf.demo.app import PAGE, make_app


def encode(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def message(body):
    return json.loads(body)["message"]


@pytest.fixture(scope="module")
def model():
    built = pdanet_tf.build_model("pdanet_resnet18_quarter", 5)
    return answers.ShownModel("small", Predictor(built), "tensorflow")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    Image.fromarray(pictures(300, 400)).save(folder / "fél.png")
    return folder_samples(folder, (".png",))


@pytest.fixture(scope="module")
def url(model, samples):
    hosts = ("127.0.0.1", "localhost")
    with running(make_app([model], samples, hosts, largest_file=200_000)) as address:
        yield address


def test_packed_bytes_are_as_described():
    packed = pack({"a": 1}, {"x": np.array([[1, 513]], "uint16"), "y": np.array([7], "uint8")})
    header = (
        b'{"a": 1, "arrays": [{"name": "x", "dtype": "uint16", "shape": [1, 2]}, '
        b'{"name": "y", "dtype": "uint8", "shape": [1]}]}'
    )
    assert packed == bytes([len(header), 0, 0, 0]) + header + bytes([1, 0, 1, 2, 7])
    assert to_bytes(np.array([0, 0.5, 1])).tolist() == [0, 128, 255]
    assert to_bytes(np.array([0.1, 0.2]), highest=0.2).tolist() == [128, 255]
    assert to_bytes(np.zeros(1), highest=0).tolist() == [0]


def test_an_image_is_answered_with_what_the_predictor_returns(url, model):
    image = pictures(40, 56)
    status, body, _ = ask(f"{url}/segment?model=0&name=a.png", encode(image))
    figures, arrays = unpack(body)
    labels, confidence = model.predictor.confident_label_map(image)
    assert status == 200
    assert figures["size"] == [40, 56]
    assert 0 < figures["seconds"] < 60
    assert arrays.keys() == {"labels", "confidence"}
    np.testing.assert_array_equal(arrays["labels"], labels)
    np.testing.assert_allclose(arrays["confidence"] / 255, confidence, atol=0.5 / 255 + 1e-6)


def test_an_image_that_browsers_do_not_show_comes_back_as_a_jpeg(url):
    image = np.full((40, 56, 3), (200, 100, 50), "uint8")
    _, body, _ = ask(f"{url}/segment?model=0&name=a.tif&picture", encode(image, "TIFF"))
    jpeg = unpack(body)[1]["picture"].tobytes()
    found = np.asarray(Image.open(io.BytesIO(jpeg), formats=["JPEG"]), int)
    assert abs(found - image).max() < 8


def test_large_images_are_shown_reduced_but_can_be_had_whole(model, monkeypatch):
    monkeypatch.setattr(answers, "LONGEST_SHOWN", 28)
    content = encode(pictures(40, 56))
    figures, arrays = unpack(answers.segment(model, content, "a.png"))
    assert figures["size"] == [40, 56]
    assert arrays["labels"].shape == arrays["confidence"].shape == (20, 28)
    assert unpack(answers.segment(model, content, "a.png", whole=True))[1]["labels"].shape == (
        40,
        56,
    )
    assert answers.fit((3000, 4000), 2048) == (1536, 2048)
    assert answers.fit((1, 4000), 2048) == (1, 2048)


def test_images_of_other_channels_are_read():
    content = io.BytesIO()
    np.save(content, np.zeros((8, 9, 5), "float32"))
    pixel_format = PixelFormat(5, "float32")
    assert answers.read_content(content.getvalue(), "a/b.npy", pixel_format).shape == (8, 9, 5)
    with pytest.raises(DataError, match=r"^b\.npy: ") as caught:
        answers.read_content(b"no array", "a/b.npy", pixel_format)
    assert "/tmp" not in str(caught.value)


def test_users_at_the_same_time_get_their_own_results(url, model):
    images = [pictures(24 + 8 * index, 40)[::-1] for index in range(6)]
    found = {}

    def user(index):
        found[index] = ask(f"{url}/segment?model=0", encode(images[index]))[1]

    threads = [threading.Thread(target=user, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, image in enumerate(images):
        labels = unpack(found[index])[1]["labels"]
        np.testing.assert_array_equal(labels, model.predictor.label_map(image))


@pytest.mark.parametrize(
    ("query", "content", "status", "expected"),
    [
        ("name=notes.txt", b"no image", 400, "notes.txt: not an image that can be read; expected"),
        ("name=empty.png", b"", 400, "empty.png: the file is empty"),
        ("name=a.png", encode(pictures(40, 56))[:900], 400, "a.png: the image cannot be read"),
        ("name=big.bmp", bytes(200_001), 413, "larger than 0 MiB, the limit of this page"),
        ("model=1", b"x", 404, "There is no model 1"),
        ("model=-1", b"x", 404, "There is no model -1"),
        ("model=x", b"x", 404, "There is no model x"),
    ],
)
def test_bad_requests_are_answered_with_one_sentence(url, query, content, status, expected):
    query = query if "model" in query else f"model=0&{query}"
    answered, body, _ = ask(f"{url}/segment?{query}", content)
    assert (answered, expected in message(body)) == (status, True), body
    assert ask(f"{url}/segment?model=0", encode(pictures(16, 16)))[0] == 200  # nothing broke


def test_an_image_over_the_limit_of_pixels_is_refused(url, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    status, body, _ = ask(f"{url}/segment?model=0&name=huge.png", encode(pictures(40, 56)))
    assert status == 400
    assert message(body).startswith("huge.png: the image has more pixels than the limit")


def test_a_failure_of_the_model_is_told_and_the_server_goes_on(model, samples, monkeypatch, caplog):
    with running(make_app([model], samples)) as address:
        with monkeypatch.context() as patch:

            def fail(*args):
                raise MemoryError("OOM when allocating tensor\nmore")

            patch.setattr(type(model.predictor), "confident_label_map", fail)
            status, body, _ = ask(f"{address}/segment?model=0", encode(pictures(16, 16)))
            assert (status, message(body)) == (500, "The model failed: OOM when allocating tensor")
        assert ask(f"{address}/segment?model=0", encode(pictures(16, 16)))[0] == 200


def test_an_explanation_is_that_of_the_package(url, model):
    image = pictures(48, 64)
    address = f"{url}/explain?model=0&name=a.png&row=0.25&column=0.999"
    figures, arrays = unpack(ask(address, encode(image))[1])
    expected = explain(image, model.predictor, (12, 63))
    assert figures["at"] == [12, 63]
    assert figures["size"] == [48, 64]
    assert {name: figures[name] for name in expected.to_dict()} == json.loads(
        json.dumps(expected.to_dict())
    )
    assert arrays.keys() == {*expected.arrays(), "picture"} - {"label_map"}
    np.testing.assert_allclose(arrays["entropy"] / 255, expected.entropy, atol=0.51 / 255)
    weights = expected.attention["6"].position
    highest = figures["highest"]["position_attention_6"]
    assert highest == pytest.approx(weights.max(), rel=1e-5)
    found = arrays["position_attention_6"] / 255 * highest
    np.testing.assert_allclose(found, weights, atol=0.51 / 255 * highest)


@pytest.mark.parametrize("row", ["-0.1", "1.5", "nan", "x"])
def test_a_position_outside_the_image_is_refused(url, row):
    status, body, _ = ask(f"{url}/explain?model=0&row={row}", encode(pictures(16, 16)))
    assert status == 400
    assert "from 0 to 1" in message(body)


def test_the_page_learns_about_models_and_samples(url):
    told = json.loads(ask(f"{url}/about")[1])
    assert told["samples"] == ["fél"]
    assert told["largest_file"] == 200_000
    (shown,) = told["models"]
    assert shown["classes"][1]["name"] == "class 1"
    del shown["classes"]
    assert shown == {
        "name": "small",
        "architecture": "pdanet_resnet18_quarter",
        "precision": "float32",
        "runtime": "tensorflow",
        "rgb": True,
    }


def test_samples_and_their_thumbnails(url):
    status, body, headers = ask(f"{url}/samples/0")
    assert (status, headers["x-file-name"]) == (200, "f%C3%A9l.png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), pictures(300, 400))
    thumbnail = Image.open(io.BytesIO(ask(f"{url}/samples/0/thumbnail")[1]))
    assert thumbnail.size == (160, 120)
    assert message(ask(f"{url}/samples/1")[1]) == "There is no sample 1"


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(FileNotFoundError, match=r"--samples .*: expected a folder with images"):
        folder_samples(tmp_path, (".png",))


def test_samples_are_drawn_for_the_classes_of_the_model():
    landscapes = drawn_samples(SYNTHETIC_CLASSES)
    assert [sample.name for sample in landscapes][:2] == ["Landscape 1", "Landscape 2"]
    street = drawn_samples(pdanet_tf.data.Classes.numbered(3))[1]
    assert street.file == "street_2.jpg"
    assert street.read() == street.read()
    first, second = draw_street(0, (60, 80)), draw_street(1, (60, 80))
    assert first.shape == (60, 80, 3)
    np.testing.assert_array_equal(first, draw_street(0, (60, 80)))
    assert (first != second).mean() > 0.5


def test_pages_of_other_names_are_refused(url):
    port = url.rpartition(":")[2]
    assert ask(f"{url}/about", Host="evil.example")[0] == 400
    assert ask(f"{url}/about", Host=f"localhost:{port}")[0] == 200


def test_every_file_of_the_page_comes_from_this_server(url):
    for file in PAGE.iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        for word in ("//fonts", "https://", 'src="//', "@import"):
            assert word not in text, f"{file.name}: {word}"
        status, body, headers = ask(f"{url}/page/{file.name}")
        assert (status, body) == (200, file.read_bytes())
        assert "default-src 'self'" in headers["content-security-policy"]
    assert ask(url)[1] == (PAGE / "index.html").read_bytes()


def test_the_files_of_the_page_are_packaged():
    import configparser

    settings = configparser.ConfigParser()
    settings.read(Path(__file__).parents[2] / "setup.cfg")
    assert "demo/page/*" in settings["options.package_data"]["pdanet_tf"].split(", ")
    assert all(file.is_file() for file in PAGE.iterdir())
