"""A look into a network: what it attends to, what it looks at, and where it is unsure."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from pdanet_tf.data.classes import Classes
from pdanet_tf.data.readers import resize_image
from pdanet_tf.files import whole_folder
from pdanet_tf.inference.attention_maps import LevelAttention, attention_of_level, find_attention
from pdanet_tf.inference.explanation_plots import draw_attention, draw_channels, draw_map
from pdanet_tf.inference.pixels import ImageLike, read_pixels
from pdanet_tf.inference.predictor import Predictor
from pdanet_tf.models.inspection import logits_of
from pdanet_tf.ops.backend import require_tensorflow

ARRAYS_FILE = "explanation.npz"
FIGURES_FILE = "explanation.json"


@dataclass(frozen=True)
class Explanation:
    """What a network did with an image, above all at one position.

    Attributes:
        image: The image, `(height, width, channels)`.
        at: The position: row and column in the image, from 0.
        classes: Names and colours of the classes.
        label_map: The predicted classes, `(height, width)`, int32.
        entropy: How unsure the model is, `(height, width)`, float32: the entropy of the
            probabilities divided by the logarithm of the number of classes. 0 means that one class
            is certain, 1 that all are equally likely.
        receptive_field: The effective receptive field of the position, `(rows, columns)`, float32,
            at the size at which the network sees the image: the absolute gradient of the logit of
            the class that is predicted there, summed over the channels of the image and divided by
            its maximum (Luo et al. 2016). All zeros if the logit does not depend on the image.
        attention: The attention of each level, by name; empty for a model without dual attention.
        missing: What the model lacks, in words.
    """

    image: np.ndarray
    at: tuple[int, int]
    classes: Classes
    label_map: np.ndarray
    entropy: np.ndarray
    receptive_field: np.ndarray
    attention: Mapping[str, LevelAttention]
    missing: tuple[str, ...]

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all arrays by name, as in `explanation.npz`.

        "label_map", "entropy" and "receptive_field" as above, and for each level NAME
        "position_attention_NAME" `(rows, columns)` and "channel_attention_NAME"
        `(channels, channels)`, see `pdanet_tf.inference.attention_maps.LevelAttention`.
        """
        arrays = {
            "label_map": self.label_map,
            "entropy": self.entropy,
            "receptive_field": self.receptive_field,
        }
        for name, level in self.attention.items():
            arrays[f"position_attention_{name}"] = level.position
            arrays[f"channel_attention_{name}"] = level.channel
        return arrays

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures, ready for JSON."""
        return {
            "at": list(self.at),
            "class": self.classes.names[self.label_map[self.at]],
            "mean_entropy": float(self.entropy.mean()),
            "levels": {
                name: {
                    "cell": list(level.cell),
                    "position_gamma": level.position_gamma,
                    "channel_gamma": level.channel_gamma,
                }
                for name, level in self.attention.items()
            },
            "missing": list(self.missing),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the arrays, the figures and the plots into a new folder, whole or not at all.

        `explanation.npz`, `explanation.json`, `entropy.png`, `receptive_field.png`, and with
        attention `position_attention.png` and `channel_attention.png`.

        Raises:
            FileExistsError: If the folder exists.
            OSError: If it cannot be written.
        """
        name = self.classes.names[self.label_map[self.at]]
        plots = {
            "entropy": draw_map(
                self.image, self.entropy, "entropy: 0 sure, 1 all classes equally likely", 1.0
            ),
            "receptive_field": draw_map(
                self.image,
                self.receptive_field,
                f"effective receptive field of {name} at {self.at[0]}, {self.at[1]}",
                1.0,
                self.at,
            ),
        }
        if self.attention:
            plots["position_attention"] = draw_attention(self.image, self.attention, self.at)
            plots["channel_attention"] = draw_channels(self.attention)
        with whole_folder(Path(folder)) as temporary:
            np.savez_compressed(temporary / ARRAYS_FILE, **self.arrays())  # type: ignore[arg-type]
            figures = json.dumps(self.to_dict(), indent=2) + "\n"
            (temporary / FIGURES_FILE).write_text(figures, "utf-8")
            for kind, plot in plots.items():
                plot.save(temporary / f"{kind}.png")


def explain(
    image: ImageLike,
    model: keras.Model | str | os.PathLike[str] | Predictor = "camvid",
    at: tuple[int, int] | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Explanation:
    """Shows what a network does with an image.

    Label map and entropy are those of the whole protocol of the model. Attention and receptive
    field are those of the whole image at the protocol's first size, without windows and mirror
    images. The gradient keeps the features of all layers in memory.

    Args:
        image: One image, as `Predictor.predict` takes it.
        model: A predictor, or what `Predictor` takes as its model.
        at: Row and column of the position in the image, from 0; by default the middle.
        weights: See `Predictor`.

    Returns:
        The explanation.

    Raises:
        DataError: If a file is missing, truncated or not an image.
        RuntimeError: If Keras runs on another backend than TensorFlow.
        ValueError: If the position is outside the image, or as in `Predictor`.

    Example:
        ```python
        explanation = pdanet_tf.inference.explain("photo.jpg", at=(24, 32))
        explanation.save("explained")
        ```

    Source:
        Fu et al. 2019 for attention, Luo et al. 2016, "Understanding the Effective Receptive Field
        in Deep Convolutional Neural Networks", for the receptive field.
    """
    require_tensorflow("The effective receptive field")
    predictor = model if isinstance(model, Predictor) else Predictor(model, weights=weights)
    pixels = read_pixels(image, predictor.pixel_format)
    height, width = pixels.shape[:2]
    row, column = (height // 2, width // 2) if at is None else at
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"at must be a row from 0 to {height - 1} and a column from 0 to {width - 1}, because "
            f"the image is {height} x {width} (height x width). Received: at=({row}, {column})"
        )
    place = (row + 0.5) / height, (column + 0.5) / width
    probabilities = predictor.probabilities(pixels)
    label_map = probabilities.argmax(-1).astype("int32")
    seen = resize_image(pixels, predictor.protocol.sizes((height, width))[0])
    batch = seen[None].astype("float32")
    levels = _attention(predictor.model, batch, place)
    lacks = "The model has no dual attention, so there are no attention maps."
    return Explanation(
        pixels,
        (row, column),
        predictor.classes,
        label_map,
        normalized_entropy(probabilities),
        receptive_field(predictor.model, batch, place, int(label_map[row, column])),
        levels,
        () if levels else (lacks,),
    )


def normalized_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Returns the entropy divided by that of equal probabilities (0 to 1).

    Args:
        probabilities: `(..., num_classes)`; the sum over the classes is 1.

    Returns:
        `(...)`, float32; zeros for a single class.
    """
    terms = probabilities * np.log(np.maximum(probabilities, np.finfo("float32").tiny))
    highest = math.log(probabilities.shape[-1]) or 1.0
    return np.clip(-terms.sum(-1) / highest, 0, 1).astype("float32")


def _attention(
    model: keras.Model, batch: np.ndarray, place: tuple[float, float]
) -> dict[str, LevelAttention]:
    found = find_attention(model)
    if not found:
        return {}
    layers = list({layer.name: layer for layer, _ in found.values()}.values())
    inner = keras.Model(model.input, {layer.name: layer.input for layer in layers})
    features = inner(batch, training=False)
    return {
        name: attention_of_level(features[layer.name], layer, index, place)
        for name, (layer, index) in found.items()
    }


def receptive_field(
    model: keras.Model, batch: np.ndarray, place: tuple[float, float], class_index: int
) -> np.ndarray:
    """Returns the effective receptive field of a logit.

    Args:
        model: A model from pixels to logits.
        batch: One image, `(1, height, width, channels)`, float32.
        place: Row and column of the logit as shares (0 to 1) of the height and the width.
        class_index: The class of the logit.

    Returns:
        `(height, width)`, float32: the absolute gradient of the logit with respect to the image,
        summed over the channels and divided by its maximum.
    """
    import tensorflow as tf

    images = tf.convert_to_tensor(batch)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = logits_of(model(images, training=False))
        rows, columns = logits.shape[1:3]
        cell = int(place[0] * rows), int(place[1] * columns)
        logit = logits[0, cell[0], cell[1], class_index]
    gradient = tape.gradient(logit, images)
    total = np.abs(ops.convert_to_numpy(gradient)[0]).sum(-1)
    return (total / (total.max() or 1)).astype("float32")
