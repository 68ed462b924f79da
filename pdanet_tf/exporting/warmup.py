"""Requests that TensorFlow Serving replays when it loads a model, before the first client's."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from pdanet_tf.base.pixel_format import PixelFormat

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_SIZE = (480, 640)  # of the images, in pixels


def write_warmup(folder: Path, pixel_format: PixelFormat, max_pixels: int) -> None:
    """Writes one request for each signature into a SavedModel.

    The images are grey. The encoded batch holds a landscape and a portrait JPEG; a batch of arrays
    holds one image.

    The file is a TFRecord of `tensorflow.serving.PredictionLog`. The four messages around the
    tensors are written here, because the package that defines them, `tensorflow-serving-api`, is
    not required for an export. A test reads the file with that package.

    Args:
        folder: The folder of the SavedModel.
        pixel_format: The images of the model.
        max_pixels: The limit of pixels of an encoded image.
    """
    height = min(_SIZE[0], math.isqrt(max_pixels))
    size = height, min(_SIZE[1], max_pixels // height)
    arrays = {"image": _gray_images(pixel_format, pixel_format.dtype or "float32")}
    default = {"images": _gray_images(pixel_format, "float32")}
    if pixel_format.is_rgb:
        pixels = (tf.fill((*size, 3), tf.constant(127, tf.uint8)) for size in (size, size[::-1]))
        files = [tf.io.encode_jpeg(each).numpy() for each in pixels]
        default = {"image_bytes": tf.make_tensor_proto(files)}
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in (
            ("serving_default", default),
            ("image", arrays),
            ("probabilities", arrays),
        ):
            writer.write(_prediction_log(signature, inputs))


def _gray_images(pixel_format: PixelFormat, dtype: str) -> Any:
    """Returns a batch of one grey image as a `TensorProto`, which holds the value only once."""
    highest = pixel_format.highest
    images = tf.make_tensor_proto([0.5 if highest is None else highest // 2], dtype)
    shape = tf.TensorShape((1, *_SIZE, pixel_format.channels))
    images.tensor_shape.CopyFrom(shape.as_proto())
    return images


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Returns a serialised `PredictionLog` of a `PredictLog` of a `PredictRequest`.

    Source: `prediction_log.proto`, `predict.proto` and `model.proto` of TensorFlow Serving, whose
    numbers of fields are used here.
    """
    model_spec = _field(3, signature.encode())
    request = _field(1, model_spec)
    for name, tensor in inputs.items():
        request += _field(2, _field(1, name.encode()) + _field(2, tensor.SerializeToString()))
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """Returns a field of bytes, a string or a message, in the wire format of protocol buffers."""
    length, digits = len(content), bytearray()
    while length > 127:
        digits.append(length % 128 + 128)
        length //= 128
    return bytes([number << 3 | 2, *digits, length]) + content
