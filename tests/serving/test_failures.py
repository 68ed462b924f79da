"""Servers that are not ready, too slow, or something else."""

import contextlib
import json
import time

import grpc
import numpy as np
import pytest

from pdanet_tf.serving import Client, RequestError, ServingError
from pdanet_tf.serving.codecs import with_lengths
from pdanet_tf.serving.messages import new_message
from tests.support.images import random_image
from tests.support.servers import MODEL, reply, serve_http, serve_raw_grpc

IMAGE = random_image(8, 10)
ANSWER = json.dumps({"predictions": np.zeros((1, 8, 10), int).tolist()}).encode()


def ask(url, **options):
    with Client(url, MODEL, signature="image", **options) as client:
        return client.predict(IMAGE)


def grpc_answer():
    response = new_message("PredictResponse")
    tensor = response.outputs.add(key="labels").value
    tensor.dtype = 3
    for side in (1, 8, 10):
        tensor.tensor_shape.dim.add(size=side)
    tensor.int_val.append(2)  # as TensorFlow writes equal values
    return response.SerializeToString()


def test_http_is_tried_again_while_the_server_is_not_ready():
    asked = []

    def respond(handler, body):
        asked.append(body)
        if len(asked) == 1:  # the connection ends without an answer
            handler.close_connection = True
        elif len(asked) == 2:
            reply(handler, 503, b'{"error": "loading"}')
        else:
            reply(handler, 200, ANSWER)

    with serve_http(respond) as url:
        assert not ask(url).label_map.any()
    assert len(asked) == 3
    assert len({*asked}) == 1


def test_grpc_is_tried_again_while_the_server_is_not_ready():
    asked = []

    def answer(request, context):
        asked.append(request)
        if len(asked) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "loading")
        return grpc_answer()

    with serve_raw_grpc(answer) as url:
        assert (ask(url).label_map == 2).all()
    assert len(asked) == 3


def test_a_server_that_remains_busy_fails_this_request_only():
    def respond(handler, _):
        reply(handler, 503, b'{"error": "batch queue is full"}')

    message = r"is not ready or has too many requests \(2 attempts in .*: 503 batch queue is full\)"
    with serve_http(respond) as url, pytest.raises(RequestError, match=message):
        ask(url, retries=1)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (500, ServingError, "the server failed: 500 out of memory"),
        (302, ServingError, "the server failed: 302 out of memory"),
        (400, RequestError, "image 0: .* the server refused the request: out of memory"),
    ],
)
def test_other_errors_of_http_are_not_tried_again(status, kind, message):
    asked = []

    def respond(handler, body):
        asked.append(body)
        reply(handler, status, b'{"error": "out of\\nmemory"}')

    with serve_http(respond) as url, pytest.raises(kind, match=message):
        ask(url)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("INTERNAL", ServingError, "the server failed: INTERNAL: out of memory"),
        ("UNIMPLEMENTED", ServingError, "does not speak this protocol .* Try another protocol"),
        ("RESOURCE_EXHAUSTED", RequestError, "image 0: .*refused the request: out of memory"),
    ],
)
def test_other_errors_of_grpc_are_not_tried_again(code, kind, message):
    asked = []

    def answer(request, context):
        asked.append(request)
        context.abort(grpc.StatusCode[code], "out of\nmemory")

    with serve_raw_grpc(answer) as url, pytest.raises(kind, match=message):
        ask(url)
    assert len(asked) == 1


def test_a_deadline_over_http_holds_for_the_whole_answer():
    def stop(handler, _):
        time.sleep(0.6)
        with contextlib.suppress(ConnectionError):
            reply(handler, 200, ANSWER)

    def trickle(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", str(2**20))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                handler.wfile.write(bytes(2**15))
                time.sleep(0.1)
        handler.close_connection = True

    def drip(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for _ in range(30):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.1)
        handler.close_connection = True

    for respond in (stop, trickle, drip):
        start = time.monotonic()
        with (
            serve_http(respond) as url,
            pytest.raises(RequestError, match=r"image 0: .* did not answer within timeout=0\.3 s"),
        ):
            ask(url, timeout=0.3)
        assert time.monotonic() - start < 2


def test_a_deadline_over_grpc():
    def answer(request, context):
        time.sleep(0.5)
        return grpc_answer()

    with (
        serve_raw_grpc(answer) as url,
        pytest.raises(
            RequestError, match=r"image 0: .* did not answer within timeout=0\.2 seconds. Raise it"
        ),
    ):
        ask(url, timeout=0.2)


def test_retries_end_with_the_deadline():
    start = time.monotonic()
    with pytest.raises(ServingError, match="no server answers at this address"):
        ask("http://localhost:1", timeout=0.5, retries=1000)
    assert time.monotonic() - start < 1


def test_an_answer_of_http_that_is_cut_short():
    with (
        serve_http(lambda handler, _: reply(handler, 200, ANSWER[:50], len(ANSWER))) as url,
        pytest.raises(ServingError, match="the answer is cut short") as caught,
    ):
        ask(url)
    assert "\n" not in str(caught.value)
    assert "object at" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ANSWER[:50], 'it is not JSON with "predictions"'),
        (b"<html>Welcome</html>", 'it is not JSON with "predictions"'),
        (b'{"outputs": []}', 'it is not JSON with "predictions"'),
        (b'{"predictions": []}', "is not a list of answers"),
        (b'{"predictions": [{"a": 1}, {"b": 1}]}', "differ in their outputs"),
        (b'{"predictions": [{"scores": [1]}]}', "it has the outputs scores, but neither"),
        (b'{"predictions": [[[1, 2], [3]]]}', "the rows of labels differ in their lengths"),
        (ANSWER.replace(b"[0,", b"[-1,", 1), "labels has the class -1"),
        (b'{"predictions": [[[1, 2]]]}', r"labels must be integers of the shape \(1, 8, 10\)"),
        (b'{"predictions": [{"label_map_bytes": {"b64": "?"}}]}', "a value is not base64"),
        (b'{"predictions": [{"label_map_bytes": {"b64": "aGk="}}]}', "label map of image 0"),
        (b'{"predictions": [{"label_map_bytes": 3}]}', "label_map_bytes must be a string for"),
        (b'{"predictions": [{"label_map_bytes": {"b64": 3}}]}', "a value that is not a string"),
    ],
)
def test_a_foreign_answer_of_http(body, message):
    with (
        serve_http(lambda handler, _: reply(handler, 200, body)) as url,
        pytest.raises(ServingError, match=message) as caught,
    ):
        ask(url)
    assert "Is this a model that pdanet-tf export wrote?" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "it has no outputs"),
        (b"<html>Welcome</html>", "it cannot be read as protobuf"),
        (grpc_answer()[:-3], "it cannot be read as protobuf"),
    ],
)
def test_a_foreign_answer_of_grpc(answer, message):
    with (
        serve_raw_grpc(lambda *_: answer) as url,
        pytest.raises(ServingError, match=message),
    ):
        ask(url)


OUTPUT = {"name": "labels", "datatype": "UINT8", "shape": [1, 8, 10]}


@pytest.mark.parametrize(
    ("output", "raw", "message"),
    [
        ({**OUTPUT, "data": [1]}, b"", r"labels has 1 values, and the shape \(1, 8, 10\)"),
        ({**OUTPUT, "parameters": {"binary_data_size": 80}}, b"abc", "it is cut short"),
        ({**OUTPUT, "datatype": "INT7", "data": [1]}, b"", "labels has the unknown type 'INT7'"),
        ({"name": "labels"}, b"", 'it is not JSON with "outputs"'),
        (
            {**OUTPUT, "datatype": "BYTES", "parameters": {"binary_data_size": 4}},
            with_lengths([b"long"])[:4],
            "a string is cut short",
        ),
    ],
)
def test_a_foreign_answer_of_the_open_inference_protocol(output, raw, message):
    head = json.dumps({"outputs": [output]}).encode()

    def respond(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(head + raw)))
        handler.send_header("Inference-Header-Content-Length", str(len(head)))
        handler.end_headers()
        handler.wfile.write(head + raw)

    with serve_http(respond) as url, pytest.raises(ServingError, match=message):
        ask(url, protocol="open-inference")


def test_a_server_of_another_protocol():
    with (
        serve_http(lambda handler, _: reply(handler, 404, b"<html>Not found</html>")) as url,
        pytest.raises(ServingError, match=r"does not speak this protocol \(404\)"),
    ):
        ask(url)
    with serve_raw_grpc(lambda *_: b"") as url:
        with pytest.raises(ServingError, match="it does not answer in HTTP"):
            ask(url.replace("grpc", "http"), retries=0)
        with pytest.raises(ServingError, match=r"there is no TLS connection .*WRONG_VERSION"):
            ask(url.replace("grpc", "https"), retries=0)


def test_more_labels_than_classes():
    with serve_raw_grpc(lambda *_: grpc_answer()) as url:
        with pytest.raises(ServingError, match="has class 2, and classes has only 2 names"):
            ask(url, classes=["dark", "bright"])
        assert ask(url).areas() == {"class 2": 1.0}
