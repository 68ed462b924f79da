"""The signatures of a SavedModel: from encoded images or arrays to label maps."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from pdanet_tf.base.pixel_format import PixelFormat
from pdanet_tf.exporting.decoding import Examined, decode_images, examine_images
from pdanet_tf.exporting.label_maps import CONFIDENCE_SPEC, Segmenter

# Images of one size are computed together, up to this many pixels of input of the network.
PIXELS_PER_GROUP = 2**20
# Positions along a side are integers up to 2 * side * longest working side.
_LONGEST_SIDE, _HIGHEST_POSITION = 65_535, 2**31
_COMPRESSION = 1  # of PNG: three times as fast as the default


class Signature(NamedTuple):
    """A function of a SavedModel.

    Attributes:
        function: From tensors to a dict of tensors.
        inputs: The shapes, dtypes and names of the tensors.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: list[tf.TensorSpec]


def make_signatures(
    segmenter: Segmenter, pixel_format: PixelFormat, max_pixels: int, strict: bool
) -> dict[str, Signature]:
    """Returns the signatures of a model by name; see `pdanet_tf.export_saved_model`."""
    shape = (None, None, None, pixel_format.channels)
    arrays = [tf.TensorSpec(shape, pixel_format.dtype or "float32", name="image")]

    def serve_encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return _label_encoded(segmenter, image_bytes, max_pixels, strict)

    def serve_arrays(images: tf.Tensor) -> dict[str, tf.Tensor]:
        (labels,) = _in_groups(
            segmenter, images, lambda group: (segmenter.label(group),), (segmenter.labels_spec,)
        )
        return {"label_maps": tf.cast(labels, tf.int32)}

    def label_images(image: tf.Tensor) -> dict[str, tf.Tensor]:
        labels, confidence = _in_groups(
            segmenter,
            image,
            segmenter.label_with_confidence,
            (segmenter.labels_spec, CONFIDENCE_SPEC),
        )
        return {"labels": labels, "confidence": confidence}

    def compute_probabilities(image: tf.Tensor) -> dict[str, tf.Tensor]:
        (probabilities,) = _in_groups(
            segmenter,
            image,
            lambda group: (segmenter.probabilities(group),),
            (segmenter.probabilities_spec,),
        )
        return {"probabilities": probabilities}

    encoded = Signature(serve_encoded, [tf.TensorSpec((None,), tf.string, name="image_bytes")])
    floats = Signature(serve_arrays, [tf.TensorSpec(shape, tf.float32, name="images")])
    signatures = {"serving_default": encoded if pixel_format.is_rgb else floats}
    signatures["image"] = Signature(label_images, arrays)
    signatures["probabilities"] = Signature(compute_probabilities, arrays)
    return signatures


def _label_encoded(
    segmenter: Segmenter, image_bytes: tf.Tensor, max_pixels: int, strict: bool
) -> dict[str, tf.Tensor]:
    """Labels encoded images of any sizes; those of one size are computed together."""
    longest = segmenter.protocol.max_size + 8
    max_side = min(_LONGEST_SIDE, _HIGHEST_POSITION // (2 * longest))
    images = examine_images(image_bytes, max_pixels, max_side)
    if strict:
        images = images._replace(error=_raise_first(images.error))
    sizes = tf.stack([images.height, images.width], axis=-1)
    keys = images.height * (max_side + 1) + images.width
    order = tf.argsort(keys, stable=True)
    # The keys of refused images are 0. All others follow, images of one size side by side.
    order = order[tf.math.count_nonzero(keys == 0, dtype=tf.int32) :]

    def label_group(
        start: tf.Tensor, files: tf.Tensor, counts: tf.Tensor, errors: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        size = tf.cast(sizes[order[start]], tf.int32)
        is_same = tf.gather(keys, order[start:]) == keys[order[start]]
        count = tf.minimum(tf.math.count_nonzero(is_same, dtype=tf.int32), _limit(segmenter, size))
        group = order[start : start + count]
        members = Examined(*(tf.gather(each, group) for each in images))
        pixels, decoded = decode_images(members, size)
        faults = tf.where(decoded, "", members.fault)
        errors = tf.tensor_scatter_nd_update(errors, group[:, None], faults)
        group, pixels = tf.boolean_mask(group, decoded), tf.boolean_mask(pixels, decoded)
        found_files, found_counts = tf.cond(
            tf.size(group) > 0,
            lambda: _encode_labels(segmenter, segmenter.label(pixels)),
            lambda: (tf.zeros(0, tf.string), tf.zeros((0, segmenter.num_classes), tf.int32)),
        )
        files = tf.tensor_scatter_nd_update(files, group[:, None], found_files)
        counts = tf.tensor_scatter_nd_update(counts, group[:, None], found_counts)
        return start + count, files, counts, errors

    batch = tf.size(image_bytes)
    _, files, counts, errors = tf.while_loop(
        lambda start, *_: start < tf.size(order),
        label_group,
        (
            tf.constant(0),
            tf.fill([batch], ""),
            tf.zeros((batch, segmenter.num_classes), tf.int32),
            images.error,
        ),
        parallel_iterations=1,
    )
    if strict:
        errors = _raise_first(errors)
    is_fine = tf.cast(errors == "", tf.int32)
    class_ids, class_fractions = _rank_classes(counts)
    return {
        "label_map_bytes": files,
        "class_ids": class_ids,
        "class_fractions": class_fractions,
        "height": tf.cast(images.height, tf.int32) * is_fine,
        "width": tf.cast(images.width, tf.int32) * is_fine,
        "error": errors,
    }


def _raise_first(errors: tf.Tensor) -> tf.Tensor:
    """Returns the errors if all are empty, and else raises an error with the first one."""
    indices = tf.where(errors != "")[:, 0]
    first = tf.reduce_min(tf.concat([indices, [0]], axis=0)[:1])
    message = tf.strings.format("image {}: ", first) + tf.concat([errors, [""]], axis=0)[first]
    checked = tf.debugging.Assert(tf.size(indices) == 0, [message])
    with tf.control_dependencies([checked]):
        return tf.identity(errors)


def _limit(segmenter: Segmenter, size: tf.Tensor) -> tf.Tensor:
    """Returns how many images of a size are computed together."""
    pixels = tf.maximum(segmenter.working_pixels(size), tf.reduce_prod(size))
    return tf.maximum(1, PIXELS_PER_GROUP // pixels)


def _encode_labels(segmenter: Segmenter, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a PNG for each label map, and the number of pixels of each class."""
    files = tf.map_fn(
        lambda label_map: tf.io.encode_png(label_map[..., None], compression=_COMPRESSION),
        labels,
        fn_output_signature=tf.string,
    )
    flat = tf.reshape(tf.cast(labels, tf.int32), [tf.shape(labels)[0], -1])
    length = segmenter.num_classes
    return files, tf.math.bincount(flat, minlength=length, maxlength=length, axis=-1)


def _rank_classes(counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the classes of each image by falling area, and their fractions of its area.

    Args:
        counts: Number of pixels of each class, `(batch, num_classes)`, int32.

    Returns:
        Classes, int32, and fractions, float32, both `(batch, num_classes)`; behind the classes that
        an image contains, -1 and 0.
    """
    order = tf.argsort(counts, axis=-1, direction="DESCENDING", stable=True)
    counts = tf.gather(counts, order, batch_dims=1)
    total = tf.maximum(1, tf.reduce_sum(counts, axis=-1, keepdims=True))
    fractions = tf.cast(tf.cast(counts, tf.float64) / tf.cast(total, tf.float64), tf.float32)
    return tf.where(counts > 0, order, -1), fractions


def _in_groups(
    segmenter: Segmenter,
    images: tf.Tensor,
    compute: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    outputs: tuple[tf.TensorSpec, ...],
) -> tuple[tf.Tensor, ...]:
    """Applies a function to a few images of a batch at a time.

    Args:
        segmenter: The network.
        images: `(batch, height, width, channels)`.
        compute: A function from `(group, height, width, channels)` to tensors
            `(group, height, width, ...)`.
        outputs: The shapes and dtypes of these tensors.

    Returns:
        The tensors of the batch, `(batch, height, width, ...)`.
    """
    batch, size = tf.shape(images)[0], tf.shape(images)[1:3]
    has_pixels = tf.debugging.Assert(
        tf.reduce_min(size) > 0, ["expected images of at least 1 x 1 pixel; received", size]
    )
    with tf.control_dependencies([has_pixels]):
        step = _limit(segmenter, size)
    # The first part is that of an empty batch.
    parts = tuple(
        tf.TensorArray(
            spec.dtype, 1, dynamic_size=True, infer_shape=False, element_shape=spec.shape
        ).write(0, tf.zeros([0, size[0], size[1], *spec.shape[3:]], spec.dtype))
        for spec in outputs
    )

    def add_group(
        start: tf.Tensor, index: tf.Tensor, *parts: tf.TensorArray
    ) -> tuple[tf.Tensor | tf.TensorArray, ...]:
        found = compute(images[start : start + step])
        written = (part.write(index, each) for part, each in zip(parts, found, strict=True))
        return start + step, index + 1, *written

    _, _, *parts = tf.while_loop(
        lambda start, *_: start < batch,
        add_group,
        (tf.constant(0), tf.constant(1), *parts),
        parallel_iterations=1,
    )
    return tuple(part.concat() for part in parts)
