"""Export to TensorFlow Serving: from images to label maps, for RGB images both encoded."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.files import whole_folder
from pdanet_tf.inference.predictor import VALUES_PER_STRIP, check_channels, default_pixel_format
from pdanet_tf.inference.protocol import Protocol
from pdanet_tf.inference.settings import load_model
from pdanet_tf.models import fold_batch_norm
from pdanet_tf.models.inspection import count_classes, logits_of, split_pixel_model
from pdanet_tf.ops.backend import require_tensorflow
from pdanet_tf.ops.grid import CellGrid
from pdanet_tf.ops.resize import interpolation_matrix


def export_saved_model(
    model: keras.Model | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    protocol: Protocol | None = None,
    weights: str | os.PathLike[str] | None = None,
    pixel_format: PixelFormat | None = None,
) -> Path:
    """Writes a SavedModel that takes encoded images and returns encoded label maps.

    The signature `serving_default` takes `image_bytes`, a batch of encoded JPEG, PNG, GIF or BMP
    files of any sizes, which it decodes to the pixels that training reads. It returns
    `label_map_bytes`, a batch of PNGs of the images' sizes: the class of every pixel, 8 bits, or 16
    for more than 256 classes. TensorFlow Serving's REST interface encodes inputs and outputs in
    base64 if their names end in `_bytes`. Loading the folder requires TensorFlow, but not this
    package. The EXIF orientation is ignored.

    A model of images that are not RGB with 8 bits has no encoded images. Its signature takes
    `images`, `(batch, height, width, channels)`, float32, in the values of the files, and returns
    `label_maps`, `(batch, height, width)`, int32.

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

    Returns:
        The folder.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the protocol has windows, which the export does not support, or the model
            takes images of other channels.
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
    loaded, settings = load_model(model, weights)
    if protocol is None:
        protocol = settings.protocol if settings is not None else Protocol()
    if protocol.crop_size is not None:
        raise ValueError(
            "An exported model does not support sliding windows. Export it without crop_size. "
            f"Received: crop_size={protocol.crop_size}"
        )
    if pixel_format is None and settings is not None:
        pixel_format = settings.pixel_format
    pixel_format = pixel_format or default_pixel_format(loaded)
    check_channels(loaded, pixel_format)
    network, grid = split_pixel_model(loaded)
    network = fold_batch_norm(network)

    def serve_encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        label_maps = tf.map_fn(
            lambda encoded: _segment(network, grid, encoded, protocol),
            image_bytes,
            fn_output_signature=tf.string,
        )
        return {"label_map_bytes": label_maps}

    def serve_arrays(images: tf.Tensor) -> dict[str, tf.Tensor]:
        rounded = pixel_format.dtype == "uint8"
        label_maps = tf.map_fn(
            lambda image: _label_map(
                _views(network, grid, image, protocol, rounded), tf.shape(image)[:2]
            ),
            images,
            fn_output_signature=tf.TensorSpec((None, None), tf.int32),
        )
        return {"label_maps": label_maps}

    # The endpoint finds the variables; `track` would store each of them a second time.
    archive = keras.export.ExportArchive()
    serve: Callable[..., dict[str, tf.Tensor]] = serve_encoded
    signature = tf.TensorSpec((None,), tf.string, name="image_bytes")
    if not pixel_format.is_rgb:
        serve, shape = serve_arrays, (None, None, None, pixel_format.channels)
        signature = tf.TensorSpec(shape, tf.float32, name="images")
    archive.add_endpoint("serving_default", serve, input_signature=[signature])
    with whole_folder(folder) as temporary:
        archive.write_out(temporary, verbose=False)
    return folder


def _segment(
    network: keras.Model, grid: CellGrid | None, encoded: tf.Tensor, protocol: Protocol
) -> tf.Tensor:
    """Returns the encoded label map of one encoded image."""
    image = decode_image(encoded)
    label_map = _label_map(_views(network, grid, image, protocol), tf.shape(image)[:2])
    dtype = tf.uint8 if count_classes(network) <= 256 else tf.uint16
    return tf.io.encode_png(tf.cast(label_map, dtype)[..., None])


class _View(NamedTuple):
    """The logits of an image at one size, and the matrices that resize them.

    Attributes:
        logits: `(rows, columns, num_classes)`.
        down: The matrix that interpolates rows, `(height of the image, rows)`.
        across: The matrix that interpolates columns, `(width of the image, columns)`.
    """

    logits: tf.Tensor
    down: tf.Tensor
    across: tf.Tensor


def _views(
    network: keras.Model,
    grid: CellGrid | None,
    image: tf.Tensor,
    protocol: Protocol,
    rounded: bool = True,
) -> list[_View]:
    """Returns the logits of an image at each size of the protocol, and of its mirror images.

    If `rounded`, the values of resized images are whole numbers.
    """
    views = []
    size = tf.shape(image)[:2]
    for working_size in _working_sizes(size, protocol):
        images = _resize(image, working_size, rounded)[None]
        if protocol.flip:
            images = tf.concat([images, images[:, :, ::-1]], axis=0)
        logits = logits_of(network(images, training=False))
        logits = tf.cast(logits, tf.float32)  # from float64
        views.append(_place(logits[0], working_size, size, grid))
        if protocol.flip:
            _, down, across = views[-1]
            # The first column of the image is the last one of its mirror image.
            views.append(_View(logits[1], down, across[::-1]))
    return views


def _place(
    logits: tf.Tensor, working_size: tf.Tensor, size: tf.Tensor, grid: CellGrid | None
) -> _View:
    """Returns the logits of an image resized to `working_size`, placed in the image of `size`."""
    matrices = [
        interpolation_matrix(tf.shape(logits)[axis], size[axis], tf.float32, grid, length)
        for axis, length in enumerate(tf.unstack(working_size))
    ]
    return _View(logits, *matrices)


def _label_map(views: list[_View], size: tf.Tensor) -> tf.Tensor:
    """Returns the most probable class of every pixel, computed in strips.

    Args:
        views: The logits of the image at each size.
        size: Height and width of the image.
    """
    height, width = size[0], size[1]
    step = tf.maximum(1, VALUES_PER_STRIP // (width * views[0].logits.shape[-1]))

    def find_labels(start: tf.Tensor) -> tf.Tensor:
        # The last strip repeats its last row.
        rows = tf.minimum(start + tf.range(step), height - 1)
        logits = [
            tf.matmul(across, tf.einsum("rh,hwc->rwc", tf.gather(down, rows), view))
            for view, down, across in views
        ]
        # With one view, the class of the largest logit is the most probable one.
        scores = logits[0] if len(logits) == 1 else tf.add_n([tf.nn.softmax(x) for x in logits])
        return tf.argmax(scores, axis=-1, output_type=tf.int32)

    strips = tf.map_fn(
        find_labels,
        tf.range(0, height, step),
        fn_output_signature=tf.TensorSpec((None, None), tf.int32),
        parallel_iterations=1,
    )
    return tf.reshape(strips, (-1, width))[:height]


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an image to the same pixels as `pdanet_tf.data.read_image`.

    Args:
        encoded: The content of a JPEG, PNG, GIF (its first frame) or BMP file, a scalar string.

    Returns:
        `(height, width, 3)`, uint8, RGB.

    Raises:
        tf.errors.InvalidArgumentError: If the file is damaged, of another format, or of a kind
            that TensorFlow would decode to other pixels: CMYK in JPEG, a palette in BMP.
    """
    header = tf.io.decode_raw(tf.strings.substr(encoded, 0, 32), tf.uint8, fixed_length=32)

    def begins_with(signature: bytes) -> tf.Tensor:
        return tf.strings.substr(encoded, 0, len(signature)) == signature

    def refuse() -> tf.Tensor:
        message = "Expected a JPEG, PNG, GIF or BMP file; received another format."
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.zeros((1, 1, 3), tf.uint8)

    image = tf.case(
        [
            (begins_with(b"\xff\xd8\xff"), lambda: _decode_jpeg(encoded)),
            (begins_with(b"\x89PNG"), lambda: _decode_png(encoded, header)),
            (begins_with(b"GIF8"), lambda: tf.io.decode_gif(encoded)[0]),
            (begins_with(b"BM"), lambda: _decode_bmp(encoded, header)),
        ],
        default=refuse,
        exclusive=True,
    )
    image.set_shape((None, None, 3))
    return image


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    channels = tf.image.extract_jpeg_shape(encoded)[2]
    message = "Expected a JPEG in grey or RGB; convert this CMYK file to RGB."
    with tf.control_dependencies([tf.debugging.Assert(channels <= 3, [message])]):
        # The default is faster, but up to 5 grey levels off the pixels that libjpeg decodes.
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    depth, color_type = header[24], header[25]

    def decode_deep_grey() -> tf.Tensor:
        grey = tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)
        grey = tf.cast(tf.cast(grey, tf.int32) // 257, tf.uint8)
        return tf.tile(grey, (1, 1, 3))

    # Grey values of 16 bits are divided by 257; other kinds keep their upper byte.
    is_deep_grey = (depth == 16) & (color_type == 0)
    return tf.cond(is_deep_grey, decode_deep_grey, lambda: tf.io.decode_png(encoded, channels=3))


def _decode_bmp(encoded: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    message = "Expected a BMP of 24 or 32 bits per pixel; convert this file to RGB."
    with tf.control_dependencies([tf.debugging.Assert(header[28] >= 24, [message])]):
        return tf.io.decode_bmp(encoded)[..., :3]


def _resize(image: tf.Tensor, size: tf.Tensor, rounded: bool = True) -> tf.Tensor:
    """Resizes an image `(height, width, channels)` as Pillow does: columns, then rows."""
    height = tf.shape(image)[0]
    for sides in ([height, size[1]], size):
        resized = tf.image.resize(image, sides, method="bilinear", antialias=True)
        image = tf.floor(resized + 0.5) if rounded else resized
    return image


def _working_sizes(size: tf.Tensor, protocol: Protocol) -> list[tf.Tensor]:
    """Computes `Protocol.sizes` in the graph."""
    precise = tf.cast(size, tf.float64)
    shortest, longest = tf.reduce_min(precise), tf.reduce_max(precise)
    sizes = []
    for edge in protocol.short_edges or (shortest,):
        scale = tf.minimum(tf.cast(edge, tf.float64) / shortest, protocol.max_size / longest)
        sides = tf.cast(precise * scale, tf.int32)
        sizes.append(tf.maximum(8, (sides + 7) // 8 * 8))
    return sizes
