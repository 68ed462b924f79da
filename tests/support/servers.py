"""Servers on loopback around the signatures of a loaded SavedModel.

`python -m tests.support.servers models/pdanet/1` starts both and prints their URLs. That of gRPC
requires tensorflow-serving-api.
"""

import base64
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

Signatures = Mapping[str, Callable[..., Mapping[str, Any]]]
MODEL = "pdanet"


@contextlib.contextmanager
def serve_grpc(signatures: Signatures) -> Iterator[str]:
    """Serves `PredictionService`, from the stubs of tensorflow-serving-api; yields the URL."""
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
            spec = request.model_spec
            if spec.name != MODEL:
                details = f"Servable not found for request: Latest({spec.name})"
                context.abort(grpc.StatusCode.NOT_FOUND, details)
            inputs = {
                name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()
            }
            try:
                outputs = signatures[spec.signature_name](**inputs)
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            response = predict_pb2.PredictResponse()
            for name in request.output_filter or outputs:
                response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
            return response

    def add(server: Any) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)

    with serve_grpc_service(add) as url:
        yield url


@contextlib.contextmanager
def serve_grpc_service(add: Callable[[Any], None]) -> Iterator[str]:
    """Starts a gRPC server to which `add` adds a service; yields its URL."""
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(2), options=limits)
    add(server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"grpc://localhost:{port}"
    finally:
        server.stop(None)


@contextlib.contextmanager
def serve_raw_grpc(answer: Callable[[bytes, Any], bytes]) -> Iterator[str]:
    """Starts a gRPC server that answers every method with bytes; yields its URL.

    Args:
        answer: From the bytes of a request and gRPC's context to the bytes of the answer.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    with serve_grpc_service(lambda server: server.add_generic_rpc_handlers([Handler()])) as url:
        yield url


@contextlib.contextmanager
def serve_rest(signatures: Signatures) -> Iterator[str]:
    """Serves what TensorFlow Serving's REST interface has in row format; yields the URL."""

    def respond(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        model, _, verb = handler.path.removeprefix("/v1/models/").partition(":")
        if verb != "predict" or not handler.path.startswith("/v1/models/"):
            reply(handler, 404, b"Not Found")
        elif model != MODEL:
            details = f"Servable not found for request: Latest({model})"
            reply(handler, 404, json.dumps({"error": details}).encode())
        else:
            status, answer = _predict(signatures, json.loads(body))
            reply(handler, status, json.dumps(answer).encode())

    with serve_http(respond) as url:
        yield url


def _predict(signatures: Signatures, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    rows = request["instances"]
    inputs = {name: _column([row[name] for row in rows]) for name in rows[0]}
    try:
        outputs = signatures[request["signature_name"]](**inputs)
    except tf.errors.InvalidArgumentError as error:
        return 400, {"error": error.message}
    columns = {
        name: [_value(name, row) for row in tensor.numpy()] for name, tensor in outputs.items()
    }
    answers = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if len(columns) == 1:
        return 200, {"predictions": [*next(iter(columns.values()))]}
    return 200, {"predictions": answers}


def _column(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return tf.constant([base64.b64decode(value["b64"]) for value in values])
    return tf.constant(np.array(values, "uint8"))


def _value(name: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value.tolist()
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode()


@contextlib.contextmanager
def serve_http(respond: Callable[[BaseHTTPRequestHandler, bytes], None]) -> Iterator[str]:
    """Starts an HTTP server; yields its URL.

    Args:
        respond: Answers a POST; it is given the handler and the body of the request.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            respond(self, self.rfile.read(int(self.headers["content-length"])))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None
) -> None:
    """Sends an answer, of which `length` bytes are announced; by default all."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None:
        handler.close_connection = True


def main(folder: str) -> None:
    """Serves a SavedModel until the process is interrupted."""
    signatures = tf.saved_model.load(folder).signatures
    with serve_grpc(signatures) as grpc_url, serve_rest(signatures) as rest_url:
        print(f"{MODEL} is served at {grpc_url} and {rest_url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
