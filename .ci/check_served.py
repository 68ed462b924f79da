"""Calls every signature of a SavedModel, and replays its warm-up file.

It needs TensorFlow and `tensorflow-serving-api`, and no more: `.ci/serving-check` runs it in such
environments. A session and a function run the same file, since TensorFlow Serving uses a session.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2


def main(folder: Path) -> None:
    """Checks the SavedModel in a folder, and prints what was called."""
    if importlib.util.find_spec("pdanet_tf") is not None:
        raise RuntimeError("pdanet_tf is installed here, so the check says nothing")
    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    encoded = "image_bytes" in signatures["serving_default"].structured_input_signature[1]
    if encoded:
        check_encoded(signatures["serving_default"], strict=folder.parent.name == "strict")
    spec = signatures["image"].structured_input_signature[1]["image"]
    images = np.random.default_rng(0).integers(0, 200, (2, 40, 56, spec.shape[-1]))
    images = tf.cast(images, spec.dtype)
    labels, confidence = (
        signatures["image"](image=images)[name].numpy() for name in ("labels", "confidence")
    )
    probabilities = signatures["probabilities"](image=images)["probabilities"].numpy()
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-4)
    assert np.mean(labels == probabilities.argmax(-1)) > 0.999
    assert np.abs(confidence / 255 - probabilities.max(-1)).max() < 0.01
    count = replay(folder, signatures)
    run_in_session(folder, images)
    print(f"TensorFlow {tf.__version__}, {folder.parent.name}: answers; {count} warm-up requests")


def check_encoded(serve, strict: bool) -> None:
    """Checks that sound files are answered, and that broken ones are refused."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3)).astype("uint8")
    png, jpeg, other = (
        tf.io.encode_png(pixels[0]).numpy(),
        tf.io.encode_jpeg(pixels[1]).numpy(),
        tf.io.encode_png(pixels[2, :, :33]).numpy(),
    )
    sound, broken = [png, jpeg, other], [b"", b"text", png[:900], jpeg[:600]]
    answer = serve(image_bytes=tf.constant(sound))
    sizes = [tuple(tf.io.decode_png(each).shape) for each in answer["label_map_bytes"].numpy()]
    assert sizes == [(40, 56, 1), (40, 56, 1), (40, 33, 1)], sizes
    assert answer["height"].numpy().tolist() == [40, 40, 40]
    assert answer["width"].numpy().tolist() == [56, 56, 33]
    np.testing.assert_allclose(answer["class_fractions"].numpy().sum(-1), 1, atol=1e-5)
    mixed = [png, *broken[:2], jpeg, *broken[2:], other]
    if strict:
        message = error_of(lambda: serve(image_bytes=tf.constant(mixed)))
        assert "image 1: the file is empty" in message, message
        return
    found = serve(image_bytes=tf.constant(mixed))
    assert [bool(error) for error in found["error"].numpy()] == [0, 1, 1, 0, 1, 1, 0]
    maps = [each for each in found["label_map_bytes"].numpy() if each]
    assert len(maps) == 3
    for each, alone in zip(maps, answer["label_map_bytes"].numpy(), strict=True):
        same = tf.io.decode_png(each) == tf.io.decode_png(alone)
        assert np.mean(same) > 0.999


def error_of(call: Callable[[], Any]) -> str:
    """Returns the message of the INVALID_ARGUMENT that a call raises, empty if it raises none."""
    try:
        call()
    except tf.errors.InvalidArgumentError as error:
        return str(error)
    return ""


def replay(folder: Path, signatures) -> int:
    """Calls the signatures with the requests of the warm-up file, and counts them."""
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    names = []
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
        }
        answer = signatures[request.model_spec.signature_name](**inputs)
        if "error" in answer:
            assert not any(answer["error"].numpy())
        names.append(request.model_spec.signature_name)
    assert sorted(names) == ["image", "probabilities", "serving_default"], names
    return len(names)


def run_in_session(folder: Path, images: tf.Tensor) -> None:
    """Runs the signatures with `saved_model_cli`, which uses a session, as TensorFlow Serving."""
    path = folder.parent / "images.npy"
    np.save(path, images.numpy())
    for name in ("image", "probabilities"):
        command = [
            Path(sys.executable).with_name("saved_model_cli"),
            *("run", "--dir", folder, "--tag_set", "serve", "--signature_def", name),
            *("--inputs", f"image={path}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = meta.signature_def["serving_default"]
        if "image_bytes" not in signature.inputs:
            return
        files = [tf.compat.as_bytes(b"no image"), _png()]
        outputs = {name: each.name for name, each in signature.outputs.items()}
        fed = {signature.inputs["image_bytes"].name: files}
        if folder.parent.name == "strict":
            message = error_of(lambda: session.run(outputs, fed))
            assert "image 0: not an image" in message, message
            return
        answer = session.run(outputs, fed)
        assert [bool(error) for error in answer["error"]] == [True, False]


def _png() -> bytes:
    """A file of one grey pixel, made without TensorFlow, whose session is another graph."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0\x80"))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
