"""The Open Inference Protocol (KServe's second, "V2"), over gRPC and REST.

Arrays travel as their bytes: over gRPC as `raw_input_contents`, over REST by the extension for
binary tensors. Strings do so over gRPC. Over REST they are in base64 with the parameter
`content_type`, as MLServer has it: `kserve` reads binary strings as UTF-8 only, and images are not.

Source:
    https://github.com/kserve/open-inference-protocol; the extensions of
    https://docs.nvidia.com/deeplearning/triton-inference-server (binary tensors) and
    https://mlserver.readthedocs.io (content types).
"""

import base64
import json
import urllib.parse
from typing import Any

import numpy as np

from pdanet_tf.serving.codecs import (
    Message,
    Tensors,
    from_base64,
    numbers,
    shaped,
    split_lengths,
    with_lengths,
)
from pdanet_tf.serving.errors import ForeignAnswerError
from pdanet_tf.serving.messages import new_message, parse_message

# Types of a tensor, with the field of their values in `InferContents`.
_TYPES = {
    "BOOL": ("bool", "bool_contents"),
    "UINT8": ("uint8", "uint_contents"),
    "UINT16": ("uint16", "uint_contents"),
    "UINT32": ("uint32", "uint_contents"),
    "UINT64": ("uint64", "uint64_contents"),
    "INT8": ("int8", "int_contents"),
    "INT16": ("int16", "int_contents"),
    "INT32": ("int32", "int_contents"),
    "INT64": ("int64", "int64_contents"),
    "FP32": ("float32", "fp32_contents"),
    "FP64": ("float64", "fp64_contents"),
}
_STRING = "BYTES"
_NAMES = {dtype: name for name, (dtype, _) in _TYPES.items()} | {"object": _STRING}
_JSON_LENGTH = "inference-header-content-length"  # header: where the binary tensors begin


class GrpcCodec:
    """`ModelInfer` of the GRPCInferenceService.

    Args:
        model: Name of the model.
        outputs: Names of the outputs that are asked for; empty for all.
    """

    target = "/inference.GRPCInferenceService/ModelInfer"

    def __init__(self, model: str, outputs: tuple[str, ...]) -> None:
        self._model = model
        self._outputs = outputs

    def encode(self, inputs: Tensors) -> Message:
        """Returns a `ModelInferRequest`."""
        request = new_message("InferRequest")
        request.model_name = self._model
        for name in self._outputs:
            request.outputs.add(name=name)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype=_NAMES[array.dtype.name], shape=array.shape)
            request.raw_input_contents.append(_to_raw(array))
        return Message(request.SerializeToString())

    def decode(self, answer: Message) -> Tensors:
        """Returns the outputs in a `ModelInferResponse`."""
        response = parse_message("InferResponse", answer.body)
        if not response.outputs:
            raise ForeignAnswerError("it has no outputs")
        raw = list(response.raw_output_contents)
        if raw and len(raw) != len(response.outputs):
            raise ForeignAnswerError(
                f"it has {len(response.outputs)} outputs and {len(raw)} values"
            )
        outputs = {}
        for index, tensor in enumerate(response.outputs):
            name, shape = tensor.name, list(tensor.shape)
            if raw:
                values = _from_raw(name, raw[index], tensor.datatype)
            elif tensor.datatype == _STRING:
                values = list(tensor.contents.bytes_contents)
            else:
                dtype, field = _type_of(name, tensor.datatype)
                values = numbers(list(getattr(tensor.contents, field)), dtype, name)
            outputs[name] = shaped(values, shape, name)
        return outputs


class RestCodec:
    """`infer` of the REST interface.

    Args:
        model: Name of the model.
        outputs: Names of the outputs that are asked for; empty for all.
    """

    def __init__(self, model: str, outputs: tuple[str, ...]) -> None:
        self.target = f"/v2/models/{urllib.parse.quote(model, safe='')}/infer"
        self._outputs = outputs

    def encode(self, inputs: Tensors) -> Message:
        """Returns a request: JSON, and the bytes of the arrays after it."""
        tensors, raw = [], []
        for name, array in inputs.items():
            tensor: dict[str, Any] = {
                "name": name,
                "shape": array.shape,
                "datatype": _NAMES[array.dtype.name],
            }
            if array.dtype == object:
                tensor["parameters"] = {"content_type": "base64"}
                tensor["data"] = [base64.b64encode(text).decode("ascii") for text in array.ravel()]
            else:
                raw.append(_to_raw(array))
                tensor["parameters"] = {"binary_data_size": len(raw[-1])}
            tensors.append(tensor)
        content: dict[str, Any] = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        if self._outputs:
            content["outputs"] = [
                {"name": name, "parameters": {"binary_data": True}} for name in self._outputs
            ]
        head = json.dumps(content).encode()
        if not raw:
            return Message(head, {"content-type": "application/json"})
        headers = {"content-type": "application/octet-stream", _JSON_LENGTH: str(len(head))}
        return Message(b"".join([head, *raw]), headers)

    def decode(self, answer: Message) -> Tensors:
        """Returns the outputs in an answer."""
        try:
            length = int(answer.headers.get(_JSON_LENGTH, len(answer.body)))
            tensors = json.loads(answer.body[:length])["outputs"]
            if not tensors:
                raise ForeignAnswerError("it has no outputs")
            outputs = {}
            for tensor in tensors:
                name, datatype, shape = (tensor[key] for key in ("name", "datatype", "shape"))
                parameters = tensor.get("parameters") or {}
                size = parameters.get("binary_data_size")
                if size is None:
                    values = _from_json(name, tensor["data"], datatype, parameters)
                else:
                    if length + size > len(answer.body):
                        raise ForeignAnswerError("it is cut short")
                    values = _from_raw(name, answer.body[length : length + size], datatype)
                    length += size
                outputs[name] = shaped(values, shape, name)
            return outputs
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            raise ForeignAnswerError('it is not JSON with "outputs"') from error


def _type_of(name: str, datatype: str) -> tuple[str, str]:
    if datatype not in _TYPES:
        raise ForeignAnswerError(f"{name} has the unknown type {datatype!r}")
    return _TYPES[datatype]


def _to_raw(array: np.ndarray) -> bytes:
    if array.dtype == object:
        return with_lengths(array.ravel().tolist())
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _from_raw(name: str, content: bytes, datatype: str) -> Any:
    if datatype == _STRING:
        return split_lengths(content)
    dtype = np.dtype(_type_of(name, datatype)[0]).newbyteorder("<")
    if len(content) % dtype.itemsize:
        raise ForeignAnswerError(f"{name} is cut short")
    return np.frombuffer(content, dtype)


def _from_json(name: str, values: Any, datatype: str, parameters: dict[str, Any]) -> Any:
    if datatype != _STRING:
        return numbers(values, _type_of(name, datatype)[0], name)
    is_base64 = parameters.get("content_type") == "base64"
    return [from_base64(text) if is_base64 else str(text).encode() for text in values]
