"""Puts an exported model under load: damaged images, images of random sizes, batches.

It needs Linux. Run it from the root of the repository:

    python -m benchmarks.serving fuzz --images 10000
    python -m benchmarks.serving sizes --requests 1000
    python -m benchmarks.serving speed --rounds 9 [--model camvid]

`fuzz` sends mutated images, in batches with a sound image, and checks that this one is answered.
`sizes` sends images of 16 x 16 to 2000 x 2000 pixels. Both print the memory in use. `speed`
compares requests of one image and of eight, `Predictor.label_map`, and what `pdanet-tf predict`
does with each image of a folder, with the model's own forward pass, all by turns.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

# TensorFlow logs its CPU features and missing GPUs. Set this before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import pdanet_tf
from pdanet_tf.benchmark.machine import describe_machine, process_memory
from pdanet_tf.cli.segmentation import segment_files
from pdanet_tf.inference.prediction import Prediction
from pdanet_tf.inference.results import KINDS, Results
from pdanet_tf.inference.settings import load_model

SPEED_SIZE = (608, 800)  # pixels
_FOLDER = 25  # images of the folder in a round
_EACH = "pdanet-tf predict, an image of a folder"


def main() -> None:
    """Runs the part that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fuzz").add_argument("--images", type=int, default=10_000)
    commands.add_parser("sizes").add_argument("--requests", type=int, default=1000)
    speed = commands.add_parser("speed")
    speed.add_argument("--rounds", type=int, default=9)
    speed.add_argument("--model", default="camvid")
    options = parser.parse_args()
    print(describe_machine())
    if options.command == "fuzz":
        fuzz(options.images)
    elif options.command == "sizes":
        send_sizes(options.requests)
    else:
        compare_speed(options.model, options.rounds)


def _small_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return pdanet_tf.build_model("fcn_resnet18", num_classes=3)


def _export(model: keras.Model, protocol: pdanet_tf.Protocol) -> Any:
    """Exports a model, and returns what TensorFlow loads of it."""
    with tempfile.TemporaryDirectory() as folder:
        exported = pdanet_tf.export_saved_model(model, Path(folder) / "1", protocol)
        return tf.saved_model.load(str(exported))


def _encode(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _draw(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns a smooth random image, `(height, width, 3)`, uint8."""
    coarse = rng.integers(0, 256, (4, 5, 3)).astype("uint8")
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def sound_files(rng: np.random.Generator) -> list[bytes]:
    """Returns files of every format and kind that the bytes signature takes or names."""
    pixels = _draw(rng, 37, 53)
    image = Image.fromarray(pixels)
    files = [
        _encode(pixels, "JPEG"),
        _encode(pixels, "JPEG", progressive=True, quality=95),
        _encode(pixels, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
        _encode(pixels, "PNG"),
        _encode(pixels, "BMP"),
        _encode(pixels, "GIF"),
        _encode(pixels, "WEBP"),
        _encode(pixels, "TIFF"),
        _encode(pixels.astype("uint16")[..., 0] * 257, "PNG"),
    ]
    for mode, kind in (
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        *((mode, "PNG") for mode in ("L", "LA", "RGBA", "P", "1")),
        *((mode, "BMP") for mode in ("L", "P", "1", "RGBA")),
        ("L", "GIF"),
    ):
        file = io.BytesIO()
        image.convert(mode).save(file, kind)
        files.append(file.getvalue())
    return files


def mutate(rng: np.random.Generator, content: bytes) -> bytes:
    """Damages a file: changes, removes, repeats or cuts off bytes, half of them in the header."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        length = len(data)
        if not length:
            break
        at = int(rng.integers(0, min(length, 64) if rng.random() < 0.5 else length))
        count = int(rng.integers(1, 17))
        match int(rng.integers(0, 6)):
            case 0:
                data[at] = int(rng.integers(0, 256))
            case 1:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                data[at : at + count] = rng.bytes(count)
            case 3:
                del data[at : at + count]
            case 4:
                data[at:at] = data[at : at + count]
            case _:
                data[at : at + count] = rng.choice([b"\0", b"\xff"]) * count
    if rng.random() < 0.2:
        del data[int(rng.integers(0, len(data) + 1)) :]
    return bytes(data)


def fuzz(number: int, batch: int = 8) -> None:
    """Sends mutated images, seven to a batch with a sound one."""
    rng = np.random.default_rng(0)
    serve = _export(_small_model(), pdanet_tf.Protocol((32,), 64)).signatures["serving_default"]
    files = sound_files(rng)
    expected = serve(image_bytes=tf.constant(files[:1]))["label_map_bytes"][0].numpy()
    answers: Counter[str] = Counter()
    memory, slowest, start = process_memory("VmRSS"), 0.0, time.perf_counter()
    sent = 0
    while sent < number:
        mutated = [mutate(rng, files[int(rng.integers(len(files)))]) for _ in range(batch - 1)]
        before = time.perf_counter()
        answer = serve(image_bytes=tf.constant([*mutated, files[0]]))
        slowest = max(slowest, time.perf_counter() - before)
        if answer["error"][-1].numpy() or answer["label_map_bytes"][-1].numpy() != expected:
            raise RuntimeError("a damaged image changed the answer to a sound one")
        for error, label_map in zip(
            answer["error"][:-1].numpy(), answer["label_map_bytes"][:-1].numpy(), strict=True
        ):
            if bool(error) == bool(label_map):
                raise RuntimeError(f"an answer of {len(label_map)} bytes with the error {error!r}")
            answers[_summarise(error.decode())] += 1
        sent += batch - 1
        if sent <= 50 * (batch - 1):
            memory = process_memory("VmRSS")
        if sent % (150 * (batch - 1)) == 0:
            print(f"{sent} images: {process_memory('VmRSS'):.0f} MiB", flush=True)
    seconds = time.perf_counter() - start
    for words, count in answers.most_common():
        print(f"{count:6d} {words}")
    print(
        f"{sent} mutated images in {seconds:.0f} s; slowest batch of {batch} {slowest:.2f} s; "
        f"memory after 50 requests {memory:.0f} MiB, at the end "
        f"{process_memory('VmRSS'):.0f} MiB"
    )


def _summarise(error: str) -> str:
    """Returns an error without the numbers that it contains."""
    if "pixels (height x width)" in error:
        return "over the limits"
    return error.split(" of ")[0].split(";")[0] or "answered"


def send_sizes(number: int) -> None:
    """Sends JPEGs of random sizes, one or two to a request."""
    rng = np.random.default_rng(0)
    serve = _export(_small_model(), pdanet_tf.Protocol((64,), 96)).signatures["serving_default"]
    measured = []
    for request in range(number):
        sizes = rng.integers(16, 2001, (int(rng.integers(1, 3)), 2))
        files = [_encode(_draw(rng, *map(int, size)), "JPEG") for size in sizes]
        answer = serve(image_bytes=tf.constant(files))
        found = np.stack([answer["height"].numpy(), answer["width"].numpy()], axis=-1)
        if not np.array_equal(found, sizes):
            raise RuntimeError(f"images of {sizes.tolist()} are answered as {found.tolist()}")
        measured.append(process_memory("VmRSS"))
        if request % 50 == 49:
            print(
                f"{request + 1} requests: {measured[-1]:.0f} MiB in use, highest after a request "
                f"{max(measured):.0f} MiB, peak {process_memory('VmHWM'):.0f} MiB",
                flush=True,
            )


def _predict_folder(predictor: pdanet_tf.Predictor, content: bytes) -> None:
    """Segments a folder of equal images and writes the results, as `pdanet-tf predict` does."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(_FOLDER)]
        for file in files:
            file.write_bytes(content)
        results = Results(Path(folder) / "out", {file: file.name for file in files}, KINDS)

        def save(file: Path, prediction: Prediction) -> None:
            results.save(file, "labels", prediction.label_image)
            results.save(file, "overlay", prediction.overlay)

        for *_, error in segment_files(predictor, files, results, save):
            if error is not None:
                raise error


def compare_speed(name: str, rounds: int) -> None:
    """Compares requests with the model's own forward pass at 608 x 800."""
    model, _ = load_model(name)
    predictor = pdanet_tf.Predictor(model, pdanet_tf.Protocol())
    pixels = _draw(np.random.default_rng(0), *SPEED_SIZE)
    images = tf.constant(pixels[None])
    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    forward = tf.function(lambda x: model(x, training=False), input_signature=[spec])
    signatures = _export(model, pdanet_tf.Protocol()).signatures
    serve, file = signatures["serving_default"], _encode(pixels, "JPEG", quality=90)
    functions: dict[str, Callable[[], Any]] = {
        "forward pass": lambda: forward(images),
        "bytes to mask": lambda: serve(image_bytes=tf.constant([file])),
        "bytes to mask, eight images": lambda: serve(image_bytes=tf.constant([file] * 8)),
        "array to labels and confidence": lambda: signatures["image"](image=images),
        "Predictor.label_map": lambda: predictor.label_map(pixels),
        _EACH: lambda: _predict_folder(predictor, file),
    }
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            before = time.perf_counter()
            function()
            count = _FOLDER if name == _EACH else 1
            if turn:  # the first one compiles
                times[name].append((time.perf_counter() - before) / count)
    base = statistics.median(times["forward pass"])
    for name, each in times.items():
        median = statistics.median(each)
        print(f"{name}: {1000 * median:.0f} ms, {median / base:.2f} forward passes")


if __name__ == "__main__":
    main()
