"""The protobuf messages of the two protocols, without the packages that generate them.

`tensorflow-serving-api` imports TensorFlow, and `kserve` and `tritonclient` bring a server's worth
of dependencies, so the few messages that a request needs are described here, by the numbers and
types of their fields. Only these travel on the wire. The descriptors are in a pool of their own:
they do not meet those of TensorFlow or of `tensorflow-serving-api` in the same process.

A map is written as a repeated message with the fields `key` and `value`, which has the same bytes.

Source:
    tensorflow_serving/apis/{predict,model}.proto, tensorflow/core/framework/{tensor,tensor_shape}
    .proto; and open_inference_grpc.proto of https://github.com/kserve/open-inference-protocol.
"""

import functools
from typing import Any

from pdanet_tf.files import one_line
from pdanet_tf.serving.errors import ForeignAnswerError, import_serving

_PACKAGE = "pdanet_tf.serving"
# Message: its fields as "number name type"; "*" marks a repeated field, a capital letter a message.
_MESSAGES = {
    "ModelSpec": "1 name string, 3 signature_name string",
    "Dimension": "1 size int64",
    "Shape": "2 dim *Dimension",
    "Tensor": (
        "1 dtype int32, 2 tensor_shape Shape, 4 tensor_content bytes, 5 float_val *float, "
        "6 double_val *double, 7 int_val *int32, 8 string_val *bytes, 10 int64_val *int64"
    ),
    "NamedTensor": "1 key string, 2 value Tensor",
    "PredictRequest": "1 model_spec ModelSpec, 2 inputs *NamedTensor, 3 output_filter *string",
    "PredictResponse": "1 outputs *NamedTensor, 2 model_spec ModelSpec",
    "InferContents": (
        "1 bool_contents *bool, 2 int_contents *int32, 3 int64_contents *int64, "
        "4 uint_contents *uint32, 5 uint64_contents *uint64, 6 fp32_contents *float, "
        "7 fp64_contents *double, 8 bytes_contents *bytes"
    ),
    "InferTensor": "1 name string, 2 datatype string, 3 shape *int64, 5 contents InferContents",
    "RequestedOutput": "1 name string",
    "InferRequest": (
        "1 model_name string, 5 inputs *InferTensor, 6 outputs *RequestedOutput, "
        "7 raw_input_contents *bytes"
    ),
    "InferResponse": "1 model_name string, 5 outputs *InferTensor, 6 raw_output_contents *bytes",
}


def new_message(name: str) -> Any:
    """Returns an empty message, such as a "PredictRequest".

    Raises:
        ImportError: If protobuf is not installed.
    """
    return _classes()[name]()


def parse_message(name: str, content: bytes) -> Any:
    """Returns the message in some bytes.

    Raises:
        ForeignAnswerError: If the bytes are not such a message.
        ImportError: If protobuf is not installed.
    """
    message = new_message(name)
    try:
        message.ParseFromString(content)
    except import_serving("google.protobuf.message").DecodeError as error:
        raise ForeignAnswerError(f"it cannot be read as protobuf: {one_line(error)}") from error
    return message


@functools.cache
def _classes() -> dict[str, Any]:
    """Returns the classes of all messages by name."""
    descriptors = import_serving("google.protobuf.descriptor_pb2")
    kinds = descriptors.FieldDescriptorProto
    file = descriptors.FileDescriptorProto(
        name="pdanet_tf/serving.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, text in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in text.split(", "):
            number, field_name, kind = field.split()
            added = message.field.add(name=field_name, number=int(number))
            repeated = kind.startswith("*")
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            added.type = getattr(kinds, f"TYPE_{'message' if kind[0].isupper() else kind}".upper())
            if kind[0].isupper():
                added.type_name = f".{_PACKAGE}.{kind}"
    pool = import_serving("google.protobuf.descriptor_pool").DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    factory = import_serving("google.protobuf.message_factory")
    return {
        name: factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }
