"""What both protocols share: a message to send, a message received, and strings in arrays."""

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pdanet_tf.serving.errors import ForeignAnswerError

Tensors = Mapping[str, np.ndarray]  # by name; strings are arrays of objects of type bytes


@dataclass(frozen=True)
class Message:
    """A request or an answer as it travels.

    Attributes:
        body: The bytes.
        headers: Headers of HTTP, with names in lower case; empty for gRPC.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Codec(Protocol):
    """Translates between tensors and the messages of a protocol.

    Attributes:
        target: The path of a URL, or the method of gRPC.
    """

    target: str

    def encode(self, inputs: Tensors) -> Message:
        """Returns a request with the inputs of a signature."""

    def decode(self, answer: Message) -> Tensors:
        """Returns the outputs of a signature.

        Raises:
            ForeignAnswerError: If the answer is not one of the protocol.
        """


def string_array(values: list[bytes]) -> np.ndarray:
    """Returns strings as an array of objects, `(len(values),)`."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def shaped(values: Any, shape: list[int], name: str, repeat: bool = False) -> np.ndarray:
    """Returns values as an array of a shape.

    Args:
        values: A list of strings, or an array.
        shape: The shape.
        name: Name of the output, for messages.
        repeat: Whether to repeat the values, if the shape has room for more. No memory is taken.

    Raises:
        ForeignAnswerError: If there are more or fewer values.
    """
    array = string_array(values) if isinstance(values, list) else np.asarray(values)
    try:
        if min(shape, default=0) < 0:
            raise ValueError("a side is negative")
        return np.broadcast_to(array, shape) if repeat else array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise ForeignAnswerError(
            f"{name} has {array.size} values, and the shape {tuple(shape)}"
        ) from error


def numbers(values: Any, dtype: str, name: str) -> np.ndarray:
    """Returns numbers as an array.

    Args:
        values: Numbers, in lists of any depth.
        dtype: Type of the array.
        name: Name of the output, for messages.

    Raises:
        ForeignAnswerError: If a value is not a number, or not one of this type.
    """
    try:
        found = np.array(values)
        array = found.astype(dtype)
        if array.dtype.kind != "f" and not np.array_equal(array, found):
            raise ValueError("a value is out of range")
        return array
    except (ValueError, TypeError, OverflowError) as error:
        raise ForeignAnswerError(f"{name} does not hold numbers of type {dtype}") from error


def from_base64(text: str | bytes) -> bytes:
    """Decodes base64.

    Raises:
        ForeignAnswerError: If the text is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ForeignAnswerError(f"a value is not base64 ({error})") from error


def with_lengths(strings: list[bytes]) -> bytes:
    """Joins strings; before each its length, 4 bytes, the lowest first."""
    return b"".join(part for text in strings for part in (struct.pack("<I", len(text)), text))


def split_lengths(content: bytes) -> list[bytes]:
    """Undoes `with_lengths`.

    Raises:
        ForeignAnswerError: If the content ends within a string.
    """
    strings, start = [], 0
    while start < len(content):
        end = start + 4
        if end <= len(content):
            end += struct.unpack_from("<I", content, start)[0]
        if end > len(content):
            raise ForeignAnswerError("a string is cut short")
        strings.append(content[start + 4 : end])
        start = end
    return strings
