"""Export to TensorFlow Serving: from images to label maps, for RGB images both encoded."""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.data.class_table import CLASSES_FILE, write_class_table
from pdanet_tf.data.classes import Classes
from pdanet_tf.exporting.label_maps import Segmenter
from pdanet_tf.exporting.settings import complete_settings
from pdanet_tf.exporting.signatures import make_signatures
from pdanet_tf.exporting.warmup import write_warmup
from pdanet_tf.files import whole_folder
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import load_model
from pdanet_tf.models import fold_batch_norm
from pdanet_tf.models.inspection import logits_of, split_pixel_model
from pdanet_tf.ops.backend import require_tensorflow

MAX_PIXELS = 2**25  # of an encoded image: 33.6 megapixels, 100 MB of pixels


def export_saved_model(
    model: keras.Model | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    protocol: Protocol | None = None,
    weights: str | os.PathLike[str] | None = None,
    pixel_format: PixelFormat | None = None,
    *,
    classes: Classes | None = None,
    max_pixels: int = MAX_PIXELS,
    strict: bool = False,
) -> Path:
    """Writes a SavedModel that takes images and returns label maps of the images' sizes.

    Loading the folder requires TensorFlow, but not this package. It has three signatures. A batch
    may have any size; images of one size are computed together, a few at a time.

    `serving_default` takes `image_bytes`, `(batch,)`, string: the contents of JPEG, PNG, GIF or BMP
    files of any sizes, which it decodes to the pixels that training reads. The EXIF orientation is
    ignored. TensorFlow Serving's REST interface encodes inputs and outputs in base64 if their names
    end in `_bytes`. The signature returns:

    - `label_map_bytes`, `(batch,)`, string: a PNG of the image's size with the class of every
      pixel, 8 bits, or 16 for more than 256 classes;
    - `class_ids`, `(batch, num_classes)`, int32: the classes that the image contains, by falling
      area, then -1;
    - `class_fractions`, `(batch, num_classes)`, float32: their fractions of the image's area, then
      0;
    - `height` and `width`, `(batch,)`, int32: the image's size in pixels;
    - `error`, `(batch,)`, string: empty; or why this image is refused (not an image, a format or
      kind that is not accepted, too many pixels, truncated or damaged). The other outputs of that
      image are empty, -1 or 0, and the other images of the batch are answered.

    `image` takes the input `image`, `(batch, height, width, channels)`, uint8. It returns `labels`,
    `(batch, height, width)`, uint8, or uint16 for more than 256 classes; and `confidence`, `(batch,
    height, width)`, uint8: the probability of that class times 255, rounded.

    `probabilities` takes the same `image`, and returns `probabilities`, `(batch, height, width,
    num_classes)`, float32.

    A model of images that are not RGB with 8 bits has no encoded images. The `image` of `image`
    and `probabilities` have the type of the values in the files (float32 if it is not known). Its
    `serving_default` takes `images`, `(batch, height, width, channels)`, float32, in the values of
    the files, and returns `label_maps`, `(batch, height, width)`, int32.

    The folder also holds `assets/classes.csv`, the names and colours of the classes, and
    `assets.extra/tf_serving_warmup_requests`, one request for each signature.

    Args:
        model: A model, or what `pdanet_tf.inference.settings.load_model` loads: a `.keras` file, a
            published checkpoint, or with `weights` an architecture.
        folder: The folder to write, which must not exist. TensorFlow Serving expects a number as
            its name: `models/pdanet/1`.
        protocol: The sizes to which images are resized, and whether they are also mirrored; by
            default the protocol that belongs to the model's weights, else the image's own size, at
            most 1000 pixels long.
        weights: Weights for the architecture that `model` names, see
            `pdanet_tf.inference.settings.load_model`.
        pixel_format: Number of channels of the images, and type of their values; by default what
            belongs to the model's weights, see `pdanet_tf.Predictor`.
        classes: Names and colours of the classes; by default those that belong to the model's
            weights, else numbers.
        max_pixels: `image_bytes` with more pixels are refused. The size is read from the header,
            before anything is decoded.
        strict: Whether a refused image raises an error (INVALID_ARGUMENT) with its index in the
            batch and the reason, so that no image of the batch is answered.

    Returns:
        The folder.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the protocol has windows, which the export does not support; if the model
            takes images of other channels or has another number of classes; or if `max_pixels` is
            out of range.
        FileNotFoundError: If there is no such model file.
        RuntimeError: If Keras runs on another backend than TensorFlow.

    Example:
        ```python
        pdanet_tf.export_saved_model("runs/first/best.keras", "models/pdanet/1")
        served = tf.saved_model.load("models/pdanet/1").signatures["serving_default"]
        served(image_bytes=tf.stack([tf.io.read_file("photo.jpg")]))["label_map_bytes"]
        ```
    """
    require_tensorflow("A SavedModel")
    folder = Path(folder)
    if folder.exists():  # before the model is loaded
        raise FileExistsError(f"{folder}: already exists; choose a new folder")
    if not 1 <= max_pixels < 2**31:
        raise ValueError(
            f"max_pixels must be from 1 to {2**31 - 1:,}. Received: max_pixels={max_pixels}"
        )
    loaded, settings = load_model(model, weights)
    settings = complete_settings(loaded, settings, protocol, pixel_format, classes)
    network, grid = split_pixel_model(loaded)
    network = fold_batch_norm(network)

    segmenter = Segmenter(
        compute_logits=_compile(network, settings.pixel_format.channels),
        grid=grid,
        protocol=settings.protocol,
        rounded=settings.pixel_format.dtype == "uint8",
        num_classes=len(settings.classes),
    )
    signatures = make_signatures(segmenter, settings.pixel_format, max_pixels, strict)
    # The endpoints find the variables; `track` would store each of them a second time.
    archive = keras.export.ExportArchive()
    for name, signature in signatures.items():
        archive.add_endpoint(name, signature.function, input_signature=signature.inputs)
    with whole_folder(folder) as temporary:
        archive.write_out(temporary, verbose=False)
        (temporary / "assets").mkdir(exist_ok=True)
        write_class_table(temporary / "assets" / CLASSES_FILE, settings.classes)
        write_warmup(temporary, settings.pixel_format, max_pixels)
    return folder


def _compile(network: keras.Model, channels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from pixels to logits, one graph that all signatures share."""

    def compute_logits(images: tf.Tensor) -> tf.Tensor:
        logits = logits_of(network(images, training=False))
        return tf.cast(logits, tf.float32)  # from float64

    pixels = tf.TensorSpec((None, None, None, channels), tf.float32)
    return tf.function(compute_logits, input_signature=[pixels])
