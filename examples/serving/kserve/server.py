"""Serves an exported model with KServe: V1 over HTTP, and V2 over HTTP and gRPC.

    pip install kserve==0.21 tensorflow
    python server.py models/pdanet/1 --model_name pdanet --http_port 8080 --grpc_port 8081

This requires TensorFlow, but not pdanet_tf: the preprocessing is in the SavedModel. The inputs of a
request choose the signature: `image_bytes` that of encoded images, `image` that of pixels.
"""

import argparse
import base64
import uuid
from typing import Any

import kserve
import numpy as np
import tensorflow as tf
from kserve.model_server import parser as server_options

SIGNATURES = {"image_bytes": "serving_default", "image": "image"}  # by input
DATATYPES = {"uint8": "UINT8", "uint16": "UINT16", "int32": "INT32", "float32": "FP32"}


class SegmentationModel(kserve.Model):
    """A SavedModel that `pdanet-tf export` wrote."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(name)
        self.folder = folder
        self.signatures: dict[str, Any] = {}

    def load(self) -> bool:
        """Loads the SavedModel."""
        self.signatures = tf.saved_model.load(self.folder).signatures
        self.ready = True
        return self.ready

    def predict(
        self,
        payload: dict[str, Any] | kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | kserve.InferResponse:
        """Answers a request of either protocol."""
        if isinstance(payload, kserve.InferRequest):
            return self._answer_second(payload)
        return self._answer_first(payload)

    def _run(self, inputs: dict[str, np.ndarray], wanted: list[str]) -> dict[str, np.ndarray]:
        names = ", ".join(inputs)
        if names not in SIGNATURES:
            raise kserve.errors.InvalidInput(
                f"expected one of the inputs {', '.join(SIGNATURES)}; received {names or 'none'}"
            )
        signature = self.signatures[SIGNATURES[names]]
        try:
            outputs = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            message = getattr(error, "message", str(error))
            raise kserve.errors.InvalidInput(message) from error
        return {name: outputs[name].numpy() for name in wanted or outputs if name in outputs}

    def _answer_first(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answers as TensorFlow Serving does, with base64 for names that end in `_bytes`."""
        rows = payload.get("instances") or []
        names = rows[0] if rows and isinstance(rows[0], dict) else {}
        inputs = {name: _column([row[name] for row in rows]) for name in names}
        columns = {
            name: [_to_json(name, value) for value in array]
            for name, array in self._run(inputs, []).items()
        }
        rows = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}

    def _answer_second(self, request: kserve.InferRequest) -> kserve.InferResponse:
        inputs = {each.name: _array(each) for each in request.inputs}
        wanted = [each.name for each in request.request_outputs or []]
        binary = request.from_grpc or bool(request.use_binary_outputs)
        outputs = [_output(*output, binary) for output in self._run(inputs, wanted).items()]
        return kserve.InferResponse(
            response_id=request.id or str(uuid.uuid4()),
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=binary,
        )


def _column(values: list[Any]) -> np.ndarray:
    if isinstance(values[0], dict):
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    return np.array(values, "uint8")


def _to_json(name: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value.tolist()
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value.decode("utf-8")


def _array(tensor: kserve.InferInput) -> np.ndarray:
    """Returns an input. Over HTTP strings of bytes are in base64, which a parameter says."""
    if (tensor.parameters or {}).get("content_type") == "base64":
        return np.array([base64.b64decode(text) for text in tensor.data], object)
    return tensor.as_numpy()


def _output(name: str, array: np.ndarray, binary: bool) -> kserve.InferOutput:
    """Returns an output. JSON has strings of bytes in base64, and says so in a parameter."""
    output = kserve.InferOutput(name, list(array.shape), DATATYPES.get(array.dtype.name, "BYTES"))
    if name.endswith("_bytes") and not binary:
        output.data = [base64.b64encode(value).decode("ascii") for value in array]
        output.parameters = {"content_type": "base64"}
    else:
        output.set_data_from_numpy(array, binary_data=binary)
    return output


def main() -> None:
    parser = argparse.ArgumentParser(parents=[server_options])
    parser.add_argument("folder", help="folder of the SavedModel, such as models/pdanet/1")
    options = vars(parser.parse_args())
    model = SegmentationModel(options["model_name"], options["folder"])
    model.load()
    names = ("http_port", "grpc_port", "workers", "max_threads")
    kserve.ModelServer(**{name: options[name] for name in names}).start([model])


if __name__ == "__main__":
    main()
