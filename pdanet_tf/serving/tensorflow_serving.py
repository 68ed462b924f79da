"""The protocol of TensorFlow Serving, over gRPC and REST.

KServe's first protocol ("V1") is the same over REST.

Source: https://www.tensorflow.org/tfx/serving/api_rest and the messages in `messages.py`.
"""

import base64
import json
import urllib.parse
from typing import Any

import numpy as np

from pdanet_tf.serving.codecs import Message, Tensors, from_base64, numbers, shaped, string_array
from pdanet_tf.serving.errors import ForeignAnswerError
from pdanet_tf.serving.messages import new_message, parse_message

# Types of a tensor, from types.proto, with the field of their values.
_TYPES = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    4: ("uint8", "int_val"),
    5: ("int16", "int_val"),
    6: ("int8", "int_val"),
    9: ("int64", "int64_val"),
    17: ("uint16", "int_val"),
}
_STRING = 7
_NUMBERS = {dtype: number for number, (dtype, _) in _TYPES.items()}


class GrpcCodec:
    """`Predict` of TensorFlow Serving's PredictionService.

    Args:
        model: Name of the model.
        signature: Name of the signature.
        outputs: Names of the outputs that are asked for; empty for all.
    """

    target = "/tensorflow.serving.PredictionService/Predict"

    def __init__(self, model: str, signature: str, outputs: tuple[str, ...]) -> None:
        self._model = model
        self._signature = signature
        self._outputs = outputs

    def encode(self, inputs: Tensors) -> Message:
        """Returns a `PredictRequest`."""
        request = new_message("PredictRequest")
        request.model_spec.name = self._model
        request.model_spec.signature_name = self._signature
        request.output_filter.extend(self._outputs)
        for name, array in inputs.items():
            _fill(request.inputs.add(key=name).value, array)
        return Message(request.SerializeToString())

    def decode(self, answer: Message) -> Tensors:
        """Returns the outputs in a `PredictResponse`."""
        response = parse_message("PredictResponse", answer.body)
        if not response.outputs:
            raise ForeignAnswerError("it has no outputs")
        return {output.key: _read(output.key, output.value) for output in response.outputs}


def _fill(tensor: Any, array: np.ndarray) -> None:
    for side in array.shape:
        tensor.tensor_shape.dim.add(size=side)
    if array.dtype == object:
        tensor.dtype = _STRING
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.dtype = _NUMBERS[array.dtype.name]
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()


def _read(name: str, tensor: Any) -> np.ndarray:
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.dtype == _STRING:
        return shaped(list(tensor.string_val), shape, name)
    if tensor.dtype not in _TYPES:
        raise ForeignAnswerError(f"{name} has the unknown type {tensor.dtype}")
    dtype, field = _TYPES[tensor.dtype]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(dtype).newbyteorder("<"))
        return shaped(values, shape, name)
    values = numbers(list(getattr(tensor, field)), dtype, name)
    # Equal values may be written once.
    return shaped(values, shape, name, repeat=len(values) == 1)


class RestCodec:
    """`:predict` of TensorFlow Serving's REST interface, in its row format.

    Args:
        model: Name of the model.
        signature: Name of the signature.
        main_output: The output of a signature that has only one, which the answer does not name.
    """

    def __init__(self, model: str, signature: str, main_output: str) -> None:
        self.target = f"/v1/models/{urllib.parse.quote(model, safe='')}:predict"
        self._signature = signature
        self._main_output = main_output

    def encode(self, inputs: Tensors) -> Message:
        """Returns the JSON of a request. Strings are in base64."""
        columns = {name: [_to_json(row) for row in array] for name, array in inputs.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        body = {"signature_name": self._signature, "instances": rows}
        return Message(json.dumps(body).encode(), {"content-type": "application/json"})

    def decode(self, answer: Message) -> Tensors:
        """Returns the outputs in the JSON of an answer."""
        try:
            rows = json.loads(answer.body)["predictions"]
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise ForeignAnswerError('it is not JSON with "predictions"') from error
        if not isinstance(rows, list) or not rows:
            raise ForeignAnswerError('"predictions" is not a list of answers')
        if not isinstance(rows[0], dict) or rows[0].keys() == {"b64"}:
            rows = [{self._main_output: row} for row in rows]
        if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
            raise ForeignAnswerError('the "predictions" differ in their outputs')
        return {name: _from_json(name, [row[name] for row in rows]) for name in rows[0]}


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    return value.tolist()


def _from_json(name: str, values: list[Any]) -> np.ndarray:
    if isinstance(values[0], str | dict):
        return string_array([_read_string(name, value) for value in values])
    try:
        return np.array(values)
    except ValueError as error:
        raise ForeignAnswerError(f"the rows of {name} differ in their lengths") from error


def _read_string(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("b64"), str):
        return from_base64(value["b64"])
    raise ForeignAnswerError(f"{name} holds a value that is not a string")
