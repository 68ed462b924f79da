"""A SavedModel with the signatures of an export, which answers at once."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

NUM_CLASSES = 3
PIXEL_LIMIT = 10_000
REFUSAL = f"expected at most {PIXEL_LIMIT} pixels"


def labels_of(pixels: np.ndarray) -> np.ndarray:
    """The labels that the model gives: dark, middle and bright red. Works on tensors, too."""
    return pixels[..., 0] // 86


class ServedModel(tf.Module):
    """Labels an image by the brightness of its red channel."""

    def serve(self, image_bytes: Any) -> dict[str, Any]:
        """`serving_default`: encoded images to encoded label maps. Refuses large images."""
        specs = {
            "label_map_bytes": tf.TensorSpec((), tf.string),
            "class_ids": tf.TensorSpec((NUM_CLASSES,), tf.int32),
            "class_fractions": tf.TensorSpec((NUM_CLASSES,), tf.float32),
            "height": tf.TensorSpec((), tf.int32),
            "width": tf.TensorSpec((), tf.int32),
            "error": tf.TensorSpec((), tf.string),
        }
        return tf.map_fn(_serve_one, image_bytes, fn_output_signature=specs)

    def serve_pixels(self, image: Any) -> dict[str, Any]:
        """`image`: pixels to labels and confidence."""
        labels = labels_of(image)
        return {"labels": labels, "confidence": tf.ones_like(labels)}

    def save(self, folder: Path) -> None:
        """Writes the SavedModel."""
        encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
        pixels = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
        signatures = {
            "serving_default": tf.function(self.serve, input_signature=[encoded]),
            "image": tf.function(self.serve_pixels, input_signature=[pixels]),
        }
        tf.saved_model.save(self, str(folder), signatures=signatures)


def _serve_one(encoded: Any) -> dict[str, Any]:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    labels = labels_of(tf.ensure_shape(image, (None, None, 3)))
    counts = tf.math.bincount(
        tf.cast(tf.reshape(labels, [-1]), tf.int32), minlength=NUM_CLASSES, maxlength=NUM_CLASSES
    )
    order = tf.argsort(counts, direction="DESCENDING", stable=True)
    sorted_counts = tf.gather(counts, order)
    size = tf.shape(labels)
    refused = tf.size(labels) > PIXEL_LIMIT
    fractions = tf.cast(sorted_counts, tf.float32) / tf.cast(tf.size(labels), tf.float32)
    return {
        "label_map_bytes": tf.where(refused, "", tf.io.encode_png(labels[..., None])),
        "class_ids": tf.where(refused | (sorted_counts == 0), -1, order),
        "class_fractions": tf.where(refused, 0.0, fractions),
        "height": size[0],
        "width": size[1],
        "error": tf.where(refused, REFUSAL, ""),
    }
