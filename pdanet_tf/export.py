"""Models for TensorFlow Serving: encoded pictures in, encoded label maps out."""

import os
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from pdanet_tf.inference import (
    VALUES_PER_STRIP,
    Protocol,
    before_upsampling,
    count_classes,
    load_model,
)
from pdanet_tf.layers.resizing import interpolation_matrix
from pdanet_tf.models import fold_batch_norm


def export_saved_model(
    model: keras.Model | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    protocol: Protocol | None = None,
) -> Path:
    """Writes a SavedModel that takes encoded pictures and returns encoded label maps.

    The signature `serving_default` takes `image_bytes`, a batch of encoded JPEG or PNG files
    of any sizes, and returns `label_map_bytes`, a batch of PNGs of the pictures' sizes: the
    class of every pixel, 8 bits, or 16 for more than 256 classes. Names that end in `_bytes` are
    what TensorFlow Serving's REST interface encodes in base64. The folder needs TensorFlow, but
    not this package, to be loaded. The EXIF orientation is not looked at.

    Args:
        model: A model from RGB pixels to logits, or a `.keras` file of one.
        folder: The folder to write, which must not exist. TensorFlow Serving expects a number as
            its name: `models/pdanet/1`.
        protocol: At which sizes the model sees a picture; by default what stands beside the
            model's file, else the picture's own size, at most 1000 pixels long.

    Returns:
        The folder.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the protocol has windows: the export sees pictures whole.
        FileNotFoundError: If there is no such model file.
        RuntimeError: If Keras runs on another backend than TensorFlow.

    Example:
        ```python
        pdanet_tf.export_saved_model("runs/first/best.keras", "models/pdanet/1")
        served = tf.saved_model.load("models/pdanet/1").signatures["serving_default"]
        served(image_bytes=tf.constant([open("photo.jpg", "rb").read()]))["label_map_bytes"]
        ```
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel needs Keras' TensorFlow backend. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} already exists; choose another folder to export to.")
    loaded, settings = load_model(model)
    if protocol is None:
        protocol = settings.protocol if settings is not None else Protocol()
    if protocol.crop_size is not None:
        raise ValueError(
            "An exported model sees pictures whole, not through sliding windows. Received: "
            f"crop_size={protocol.crop_size}"
        )
    network = fold_batch_norm(before_upsampling(loaded))

    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        label_maps = tf.map_fn(
            lambda encoded: _segment(network, encoded, protocol),
            image_bytes,
            fn_output_signature=tf.string,
        )
        return {"label_map_bytes": label_maps}

    # Variables are found by the endpoint; `track` would have each stored a second time.
    archive = keras.export.ExportArchive()
    signature = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_default", serve, input_signature=[signature])
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{os.getpid()}.{folder.name}")
    try:
        archive.write_out(beside, verbose=False)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _segment(network: keras.Model, encoded: tf.Tensor, protocol: Protocol) -> tf.Tensor:
    """Turns one encoded picture into an encoded label map."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    label_map = _label_map(_views(network, image, protocol), tf.shape(image)[:2])
    dtype = tf.uint8 if count_classes(network) <= 256 else tf.uint16
    return tf.io.encode_png(tf.cast(label_map, dtype)[..., None])


def _views(network: keras.Model, image: tf.Tensor, protocol: Protocol) -> list[tf.Tensor]:
    """Returns the logits of an image at each size that the model sees, mirrored ones also."""
    views = []
    for working_size in _working_sizes(tf.shape(image)[:2], protocol):
        images = tf.image.resize(image[None], working_size, method="bilinear", antialias=True)
        if protocol.flip:
            images = tf.concat([images, images[:, :, ::-1]], axis=0)
        outputs = network(images, training=False)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        views.append(logits[0])
        if protocol.flip:
            views.append(logits[1, :, ::-1])
    return views


def _label_map(views: list[tf.Tensor], size: tf.Tensor) -> tf.Tensor:
    """Returns the most probable class of every pixel, by strips.

    Args:
        views: Logits `(any height, any width, num_classes)` of the picture.
        size: Its height and width.
    """
    height, width = size[0], size[1]
    vertical = [interpolation_matrix(tf.shape(view)[0], height, tf.float32) for view in views]
    horizontal = [interpolation_matrix(tf.shape(view)[1], width, tf.float32) for view in views]
    step = tf.maximum(1, VALUES_PER_STRIP // (width * views[0].shape[-1]))

    def find_labels(start: tf.Tensor) -> tf.Tensor:
        # The last strip says what its last row is more than once.
        rows = tf.minimum(start + tf.range(step), height - 1)
        logits = [
            tf.matmul(across, tf.einsum("rh,hwc->rwc", tf.gather(down, rows), view))
            for view, down, across in zip(views, vertical, horizontal, strict=True)
        ]
        # Of one view, the most probable class is that of the largest logit.
        scores = logits[0] if len(logits) == 1 else tf.add_n([tf.nn.softmax(x) for x in logits])
        return tf.argmax(scores, axis=-1, output_type=tf.int32)

    strips = tf.map_fn(
        find_labels,
        tf.range(0, height, step),
        fn_output_signature=tf.TensorSpec((None, None), tf.int32),
        parallel_iterations=1,
    )
    return tf.reshape(strips, (-1, width))[:height]


def _working_sizes(size: tf.Tensor, protocol: Protocol) -> list[tf.Tensor]:
    """Does in the graph what `Protocol.sizes` does."""
    precise = tf.cast(size, tf.float64)
    shortest, longest = tf.reduce_min(precise), tf.reduce_max(precise)
    sizes = []
    for edge in protocol.short_edges or (shortest,):
        scale = tf.minimum(tf.cast(edge, tf.float64) / shortest, protocol.max_size / longest)
        sides = tf.cast(precise * scale, tf.int32)
        sizes.append(tf.maximum(8, (sides + 7) // 8 * 8))
    return sizes
