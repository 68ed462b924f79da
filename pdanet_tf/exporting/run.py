"""Export of a trained model to the format of a runtime."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pdanet_tf.base.choices import EXPORT_FORMATS, check_choice
from pdanet_tf.base.extras import import_extra
from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.classes import Classes
from pdanet_tf.data.endings import CHANNEL_ENDINGS, IMAGE_ENDINGS
from pdanet_tf.data.problems import DataError
from pdanet_tf.data.readers import resize_image
from pdanet_tf.exporting.saved_model import export_saved_model
from pdanet_tf.exporting.segmentation import OUTSIDE, build_segmentation
from pdanet_tf.exporting.settings import complete_settings
from pdanet_tf.files import whole_folder
from pdanet_tf.inference.pixels import read_pixels
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import InferenceSettings, load_model
from pdanet_tf.models import fold_batch_norm
from pdanet_tf.models.inspection import split_pixel_model
from pdanet_tf.ops.backend import require_tensorflow
from pdanet_tf.runtimes import litert, onnx, openvino
from pdanet_tf.runtimes.graphs import trace_plain
from pdanet_tf.runtimes.network import computing_precision

_INT8_FORMATS = ("openvino", "litert")
# The packages that each format requires, without and with int8, and the extras that install them.
_PACKAGES = {
    ("onnx", False): [("tf2onnx", "onnx")],
    ("openvino", False): [("openvino", "openvino")],
    ("openvino", True): [("openvino", "openvino"), ("nncf", "openvino")],
}
_CALIBRATION_IMAGES = 50


def export(
    model: keras.Model | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    format: str = "saved_model",
    protocol: Protocol | None = None,
    weights: str | os.PathLike[str] | None = None,
    pixel_format: PixelFormat | None = None,
    size: tuple[int, int] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    classes: Classes | None = None,
    **options: Any,
) -> Path:
    """Writes a model, with everything between an image and its label map, for a runtime.

    The folder holds `model.onnx`; `model.xml` and `model.bin` for OpenVINO; `model.tflite` for
    LiteRT; or a SavedModel, see `export_saved_model`. The first three take one input and have two
    outputs:

    - `image`, `(batch, height, width, channels)`, uint8, RGB, or of the channels and the type that
      the model takes;
    - `labels`, `(batch, height, width)`, the most probable class of every pixel, uint8, or uint16
      for more than 256 classes;
    - `confidence`, `(batch, height, width)`, its probability times 255, uint8.

    Beside them is `inference.json` with the classes, their colours and the protocol. ONNX has this
    text also as the metadata `pdanet_tf`, and OpenVINO as the runtime information `pdanet_tf`.

    Args:
        model: A model, or what `pdanet_tf.inference.settings.load_model` loads: a `.keras` file, a
            published checkpoint, or with `weights` an architecture.
        folder: The folder to write, which must not exist. Servers expect a number as its name:
            `models/pdanet/1`.
        format: "saved_model", "onnx" (extra `onnx`), "openvino" (extra `openvino`) or "litert".
        protocol: See `export_saved_model`.
        weights: See `export_saved_model`.
        pixel_format: See `export_saved_model`.
        size: (height, width) of all images, which LiteRT requires. By default ONNX and OpenVINO
            take images of any size and in batches of any number; with a size, they take images of
            this size only, one at a time.
        calibration: A folder of images for int8, which OpenVINO and LiteRT have. The ranges of the
            values are found from at most 50 of them, so they must be like those that will be
            segmented. Measure what int8 costs before you use it, see docs/runtimes.md.
        classes: Names and colours of the classes; by default those that belong to the model's
            weights, else numbers.
        **options: Further arguments of `export_saved_model`, for that format only.

    Returns:
        The folder.

    Raises:
        DataError: If the calibration folder has no images, or one of them cannot be read.
        FileExistsError: If the folder exists.
        FileNotFoundError: If there is no such model file.
        ImportError: If the format requires an extra that is not installed.
        RuntimeError: If Keras runs on another backend than TensorFlow.
        ValueError: If the format is unknown, an argument does not go with the format, the protocol
            has windows, or the model computes in half precision or takes images of other channels.

    Example:
        ```python
        import onnxruntime

        pdanet_tf.export("runs/first/best.keras", "models/first/1", format="onnx")
        session = onnxruntime.InferenceSession("models/first/1/model.onnx")
        image = pdanet_tf.data.read_image("photo.jpg")
        labels, confidence = session.run(["labels", "confidence"], {"image": image[None]})
        ```
    """
    check_choice("format", format, EXPORT_FORMATS)
    require_tensorflow("Export")
    _check_options(format, size, calibration, options)
    folder = Path(folder)
    if format == "saved_model":
        return export_saved_model(
            model, folder, protocol, weights, pixel_format, classes=classes, **options
        )
    if folder.exists():  # before the model is loaded
        raise FileExistsError(f"{folder}: already exists; choose a new folder")
    for package, extra in _PACKAGES.get((format, calibration is not None), ()):
        import_extra(package, extra, f"The format {format}")
    loaded, settings = load_model(model, weights)
    settings = complete_settings(loaded, settings, protocol, pixel_format, classes)
    precision = computing_precision(loaded)
    if precision != "float32":
        raise ValueError(
            f"The format {format} stores float32; choose the precision where the file is run. "
            f"Received: a model in {precision}"
        )
    images = None if calibration is None else _Images(Path(calibration), settings, size)
    network, grid = split_pixel_model(loaded)
    segment = build_segmentation(
        fold_batch_norm(network), grid, settings.protocol, settings.pixel_format.dtype == "uint8"
    )
    channels = settings.pixel_format.channels
    shape = (None, None, None, channels) if size is None else (1, *size, channels)
    dtype = settings.pixel_format.dtype or "float32"
    graph = trace_plain(segment, tf.TensorSpec(shape, dtype, "image"))
    with whole_folder(folder) as temporary:
        _write(graph, temporary, format, settings.to_json(), images)
        settings.save(temporary)
    return folder


def _check_options(
    format: str,
    size: tuple[int, int] | None,
    calibration: str | os.PathLike[str] | None,
    options: dict[str, Any],
) -> None:
    """Checks that the arguments go with the format."""
    if format != "saved_model" and options:
        raise ValueError(f"{', '.join(options)}: for the format saved_model only, not {format}")
    if format == "saved_model" and size is not None:
        raise ValueError("A SavedModel takes images of any size: leave size out")
    if format == "litert" and size is None:
        raise ValueError(
            "LiteRT files take images of one size: give size, their height and width in pixels"
        )
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise ValueError(f"size must be a height and a width in pixels. Received: size={size}")
    if calibration is not None and format not in _INT8_FORMATS:
        raise ValueError(
            f"int8 is for the formats {' and '.join(_INT8_FORMATS)}. Received: format={format!r}"
        )


class _Images:
    """Images for int8, each a batch of one; each iteration reads them again.

    Args:
        folder: The folder.
        settings: The settings of the model.
        size: (height, width) to which the images are resized, or None.

    Raises:
        DataError: If the folder has no images.
    """

    def __init__(
        self, folder: Path, settings: InferenceSettings, size: tuple[int, int] | None
    ) -> None:
        endings = IMAGE_ENDINGS if settings.pixel_format.is_rgb else CHANNEL_ENDINGS
        files = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file()
        )
        if not files:
            raise DataError(f"{folder}: no images ({', '.join(endings)}) to calibrate int8 with")
        count = min(len(files), _CALIBRATION_IMAGES)
        self.files = [files[index * len(files) // count] for index in range(count)]
        self.pixel_format = settings.pixel_format
        self.size = size

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            image = read_pixels(file, self.pixel_format)
            image = image if self.size is None else resize_image(image, self.size)
            yield image[None].astype(self.pixel_format.dtype or "float32")


def _write(graph: Any, folder: Path, format: str, metadata: str, images: _Images | None) -> None:
    """Converts a graph and writes it into a folder."""
    if format == "onnx":
        content = onnx.convert_to_onnx(graph, {"pdanet_tf": metadata})
        (folder / "model.onnx").write_bytes(content)
    elif format == "openvino":
        converted = openvino.convert_to_openvino(graph)
        if images is not None:
            converted = openvino.quantize_openvino(converted, images, OUTSIDE)
        openvino.save_openvino(converted, folder / "model.xml", {"pdanet_tf": metadata})
    else:
        (folder / "model.tflite").write_bytes(litert.convert_to_litert(graph, images))
