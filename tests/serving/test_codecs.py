"""Messages against those that TensorFlow and TensorFlow Serving's package write and read."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pdanet_tf.serving import open_inference, tensorflow_serving
from pdanet_tf.serving.answers import read_predictions
from pdanet_tf.serving.codecs import Message, split_lengths, string_array, with_lengths
from pdanet_tf.serving.errors import ForeignAnswerError
from pdanet_tf.serving.images import SentImage
from pdanet_tf.serving.messages import new_message, parse_message

ARRAYS = {
    "bytes": string_array([b"\xff\x00", b"", b"text"]),
    "uint8": np.arange(24, dtype="uint8").reshape(2, 4, 3),
    "uint16": np.array([[0, 65535]], "uint16"),
    "int32": np.array([-1, 2**31 - 1], "int32"),
    "int64": np.array([-(2**40)], "int64"),
    "float32": np.array([[0.5], [-2]], "float32"),
    "float64": np.array([1e300]),
    "equal": np.full((2, 3), 7, "int32"),  # TensorFlow writes the value once
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_of_tensorflow_are_read(name):
    array = ARRAYS[name]
    for proto in (tf.make_tensor_proto(array), tf.constant(array).numpy()):
        if isinstance(proto, np.ndarray):  # each value in a field, as the server writes them
            proto = tf.make_tensor_proto(array.tolist(), tf.as_dtype(array.dtype), array.shape)
        response = new_message("PredictResponse")
        response.outputs.add(key=name).value.ParseFromString(proto.SerializeToString())
        answer = Message(response.SerializeToString())
        found = tensorflow_serving.GrpcCodec("pdanet", "image", ()).decode(answer)[name]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("name", ARRAYS)
def test_tensorflow_reads_the_tensors(name):
    array = ARRAYS[name]
    request = tensorflow_serving.GrpcCodec("pdanet", "image", ()).encode({name: array})
    (sent,) = parse_message("PredictRequest", request.body).inputs
    proto = tf.make_tensor_proto(0)
    proto.ParseFromString(sent.value.SerializeToString())
    assert sent.key == name
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)


def test_tensorflow_serving_reads_the_request(tensorflow_serving):
    from tensorflow_serving.apis import predict_pb2

    from pdanet_tf.serving.tensorflow_serving import GrpcCodec

    array = ARRAYS["uint8"]
    message = GrpcCodec("pdanet", "image", ("labels",)).encode({"images": array})
    request = predict_pb2.PredictRequest.FromString(message.body)
    assert request.model_spec.name == "pdanet"
    assert request.model_spec.signature_name == "image"
    assert list(request.output_filter) == ["labels"]
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["images"]), array)


@pytest.mark.parametrize("name", sorted(ARRAYS.keys() - {"bytes"}))
def test_rows_of_rest(name):
    codec = tensorflow_serving.RestCodec("my model", "image", "labels")
    assert codec.target == "/v1/models/my%20model:predict"
    array = ARRAYS[name]
    rows = json.loads(codec.encode({"images": array}).body)["instances"]
    np.testing.assert_array_equal(np.array([row["images"] for row in rows]), array)
    answer = Message(
        json.dumps({"predictions": [{"labels": row["images"]} for row in rows]}).encode()
    )
    np.testing.assert_array_equal(codec.decode(answer)["labels"], array)


KINDS = {
    "bytes": ("BYTES", "bytes_contents"),
    "uint8": ("UINT8", "uint_contents"),
    "uint16": ("UINT16", "uint_contents"),
    "int32": ("INT32", "int_contents"),
    "int64": ("INT64", "int64_contents"),
    "float32": ("FP32", "fp32_contents"),
    "float64": ("FP64", "fp64_contents"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_the_open_inference_protocol_over_grpc(name, raw):
    """Servers answer with raw contents, or with a field of the type."""
    array, (datatype, field) = ARRAYS[name], KINDS[name]
    response = new_message("InferResponse")
    output = response.outputs.add(name="x", datatype=datatype, shape=array.shape)
    values = array.ravel().tolist()
    if raw:
        response.raw_output_contents.append(
            with_lengths(values) if name == "bytes" else array.astype(array.dtype).tobytes()
        )
    else:
        getattr(output.contents, field).extend(values)
    codec = open_inference.GrpcCodec("pdanet", ())
    found = codec.decode(Message(response.SerializeToString()))["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    request = parse_message("InferRequest", codec.encode({"x": array}).body)
    assert (request.inputs[0].datatype, list(request.inputs[0].shape)) == (datatype, [*array.shape])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_of_the_open_inference_protocol_over_rest(name, binary):
    array, (datatype, _) = ARRAYS[name], KINDS[name]
    codec = open_inference.RestCodec("pdanet", ("x",))
    request = codec.encode({"x": array})
    length = int(request.headers.get("inference-header-content-length", len(request.body)))
    (sent,) = json.loads(request.body[:length])["inputs"]
    assert (sent["datatype"], sent["shape"]) == (datatype, [*array.shape])
    output, raw = {key: sent[key] for key in ("name", "datatype", "shape")}, b""
    if binary:
        raw = with_lengths(array.tolist()) if name == "bytes" else request.body[length:]
        output["parameters"] = {"binary_data_size": len(raw)}
    elif name == "bytes":
        output |= {"data": sent["data"], "parameters": sent["parameters"]}
    else:
        output["data"] = array.ravel().tolist()
    head = json.dumps({"outputs": [output]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    found = codec.decode(Message(head + raw, headers))["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("value", [300, -1, 0.5, "a", None, 2**70])
def test_numbers_of_another_type_are_foreign(value):
    output = {"name": "labels", "datatype": "UINT8", "shape": [1], "data": [value]}
    answer = Message(json.dumps({"outputs": [output]}).encode())
    with pytest.raises(ForeignAnswerError):
        open_inference.RestCodec("pdanet", ()).decode(answer)


def test_numbers_out_of_range_over_grpc_are_foreign():
    response = new_message("PredictResponse")
    tensor = response.outputs.add(key="labels").value
    tensor.dtype = 4  # uint8, of which gRPC has int32
    tensor.int_val.append(300)
    with pytest.raises(ForeignAnswerError, match="labels does not hold numbers of type uint8"):
        tensorflow_serving.GrpcCodec("m", "image", ()).decode(Message(response.SerializeToString()))


def test_lengths():
    assert with_lengths([b"ab", b""]) == b"\2\0\0\0ab\0\0\0\0"
    assert split_lengths(b"\2\0\0\0ab\0\0\0\0") == [b"ab", b""]
    for content in (b"\2\0\0", b"\2\0\0\0a"):
        with pytest.raises(ForeignAnswerError, match="a string is cut short"):
            split_lengths(content)


@pytest.mark.parametrize("kind", ["tensorflow grpc", "tensorflow rest", "open grpc", "open rest"])
def test_damaged_answers_are_foreign(kind):
    """2,000 mutations of an answer: each is read, or refused by its own error."""
    codec, answer = make_answer(kind)
    images = [SentImage("a", np.zeros((4, 5, 3), "uint8")), SentImage("b", np.ones((4, 5, 3)))]
    assert [found.label_map.max() for found in read_predictions(codec.decode(answer), images, None)]
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        body = bytearray(answer.body)
        for _ in range(rng.integers(1, 4)):
            body[rng.integers(len(body))] = rng.integers(256)
        if rng.integers(4) == 0:
            del body[rng.integers(len(body)) :]
        try:
            read_predictions(codec.decode(Message(bytes(body), answer.headers)), images, None)
        except ForeignAnswerError:
            refused += 1
    assert refused > 500


def make_answer(kind):
    """Returns a codec and the answer of a server to two images of 4 x 5 pixels."""
    file = io.BytesIO()
    Image.fromarray(np.eye(4, 5, dtype="uint8")).save(file, "PNG")
    label_maps = string_array([file.getvalue()] * 2)
    ids, errors = np.array([[0, 1], [0, 1]], "int32"), string_array([b"", b""])
    outputs = {"label_map_bytes": label_maps, "class_ids": ids, "error": errors}
    protocol, _, transport = kind.partition(" ")
    if protocol == "tensorflow" and transport == "grpc":
        response = new_message("PredictResponse")
        for name, array in outputs.items():
            tensor = tf.make_tensor_proto(array).SerializeToString()
            response.outputs.add(key=name).value.ParseFromString(tensor)
        codec = tensorflow_serving.GrpcCodec("pdanet", "serving_default", ())
        return codec, Message(response.SerializeToString())
    if protocol == "tensorflow":
        codec = tensorflow_serving.RestCodec("pdanet", "serving_default", "label_map_bytes")
        rows = json.loads(codec.encode(outputs).body)["instances"]
        return codec, Message(json.dumps({"predictions": rows}).encode())
    codec = getattr(open_inference, f"{transport.capitalize()}Codec")("pdanet", ())
    request = codec.encode(outputs)
    if transport == "rest":
        length = int(request.headers["inference-header-content-length"]) + 1
        body = request.body.replace(b"inputs", b"outputs", 1)
        return codec, Message(body, {"inference-header-content-length": str(length)})
    response = new_message("InferResponse")
    sent = parse_message("InferRequest", request.body)
    response.outputs.extend(sent.inputs)
    response.raw_output_contents.extend(sent.raw_input_contents)
    return codec, Message(response.SerializeToString())
